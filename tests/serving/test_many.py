"""Promises of one server with several endpoints: each is asked by a name of its own, and none waits for another."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from everloop.models.model import Model
from everloop.monitoring.inference_log import logged
from everloop.records.serving import Traffic
from everloop.registry.versions import get_version
from everloop.rollout.endpoints import list_reports, observed_generation
from everloop.serving.server import PredictionServer, serving
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace
from tests.serving.test_server import ROW, follow, v2_body

Register = Callable[..., Model]
Direct = Callable[..., Traffic]
ONE, TWO = ("flights", "late"), ("trains", "late_trains")


@pytest.fixture
def two(workspace: Workspace, register: Register, direct: Direct) -> tuple[str, str]:
    """Two endpoints with a model each, of which both have a version that answers."""
    for seed, (endpoint, model) in enumerate((ONE, TWO), 1):
        register(seed, model)
        direct(1, endpoint=endpoint, model=model)
    return "flights", "trains"


@contextmanager
def asking(server: PredictionServer) -> Iterator[httpx.Client]:
    """A client of a server."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def predict(client: httpx.Client, name: str) -> Any:
    """What one row is answered under a name."""
    return client.post(f"/v1/models/{name}:predict", json={"instances": [ROW]})


def test_each_endpoint_is_asked_by_its_model_s_name_or_its_own(
    workspace: Workspace, small_model: Callable[[int], Model], two: tuple[str, str]
) -> None:
    """Both dialects, on one port; each prediction is logged at its endpoint, and the metrics tell the models apart."""
    with serving(workspace, two) as server, asking(server) as client:
        assert (
            client.get("/v2/models").json() == client.get("/v1/models").json() == {"models": [ONE[1], TWO[1]]}
        )
        for seed, (endpoint, model) in enumerate((ONE, TWO), 1):
            score = small_model(seed).infer({name: [value] for name, value in ROW.items()})["late"][0]
            for name in (endpoint, model):
                assert predict(client, name).json()["predictions"] == [score]
                answer = client.post(f"/v2/models/{name}/infer", json=v2_body()).json()
                assert (answer["model_name"], answer["outputs"][0]["data"]) == (model, [score])
                assert client.get(f"/v2/models/{name}").json()["name"] == name
        told = client.get("/metrics").text
    for endpoint, model in (ONE, TWO):
        assert (
            f'everloop_inference_requests_total{{model_name="{model}",model_version="1",protocol="v1"' in told
        )
        assert f'everloop_endpoint_generation{{endpoint="{endpoint}"}} 1.0' in told
        with workspace.database.read() as tx:
            assert {(row.endpoint, row.model) for row in logged(tx, endpoint=endpoint)} == {(endpoint, model)}
            assert len(logged(tx, endpoint=endpoint)) == 4


def test_a_model_behind_two_endpoints_is_asked_by_theirs(
    workspace: Workspace, register: Register, direct: Direct
) -> None:
    """Its own name says too little: the refusal has the names to ask by, and the list of models has them, too."""
    register(1)
    direct(1, endpoint="north")
    direct(1, endpoint="south")
    with serving(workspace, ("north", "south")) as server, asking(server) as client:
        refused = predict(client, "late")
        assert (refused.status_code, refused.json()) == (
            404,
            {
                "error": "model 'late' is behind 2 endpoints here. "
                "Next: ask for an endpoint by its name: north, south."
            },
        )
        assert client.get("/v2/models").json() == {"models": ["north", "south"]}
        assert predict(client, "south").json()["model_name"] == "late"
    with workspace.database.read() as tx:
        assert [len(logged(tx, endpoint=name)) for name in ("north", "south")] == [0, 1]


def test_ready_is_a_server_whose_endpoints_all_can_answer(workspace: Workspace, two: tuple[str, str]) -> None:
    """It names the one that cannot; whoever asks for one endpoint hears of that one."""
    with serving(workspace, (*two, "ships")) as server, asking(server) as client:
        for path in ("/readyz", "/v2/health/ready"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "endpoint 'ships' has no model version" in answer.json()["error"]
        assert client.get("/v2/models/late/ready").status_code == 200
        assert client.get("/v1/models/trains").status_code == 200
        assert client.get("/v2/models/ships/ready").status_code == 503
        assert predict(client, "ships").status_code == 503
        assert predict(client, "late").status_code == 200


class SlowBlob:
    """A version whose manifest is a pipe: whoever loads it waits until `arrive`, as one does for a large file."""

    def __init__(self, workspace: Workspace, model: str, version: int) -> None:
        with workspace.database.read() as tx:
            digest = get_version(tx, model, version).digest
        self._path = next(Path(workspace.blobs.folder).glob(f"*/{digest}"))
        self._bytes = self._path.read_bytes()
        self._path.unlink()
        os.mkfifo(self._path)

    def arrive(self) -> None:
        """The bytes are there."""
        with self._path.open("wb") as pipe:
            pipe.write(self._bytes)


def test_no_endpoint_waits_for_what_another_one_loads(
    workspace: Workspace, register: Register, direct: Direct, two: tuple[str, str]
) -> None:
    """While one loads, the others answer and follow; and when it cannot load, they follow no more slowly."""
    register(3, "late_trains")
    slow = SlowBlob(workspace, "late_trains", 2)
    with serving(workspace, two) as server, asking(server) as client:
        waiting = direct(2, endpoint="trains", model="late_trains")
        try:
            register(4)
            follow(workspace, direct(2))
            assert predict(client, "late").json()["model_version"] == "2"
            assert predict(client, "late_trains").json()["model_version"] == "1"
        finally:
            slow.arrive()
        follow(workspace, waiting)
        assert predict(client, "late_trains").json()["model_version"] == "2"
        direct(9, endpoint="trains", model="late_trains")
        for version in (1, 2, 1, 2):
            follow(workspace, direct(version))
        assert predict(client, "late_trains").json()["model_version"] == "2"


def test_a_server_that_begins_answers_what_it_has_while_it_loads_the_rest(
    workspace: Workspace, two: tuple[str, str]
) -> None:
    """The word that it is up comes when each endpoint has been looked at; requests need not wait for that."""
    slow = SlowBlob(workspace, "late_trains", 1)
    server = PredictionServer(workspace, two)
    up = threading.Event()
    thread = threading.Thread(target=server.run, kwargs={"on_ready": lambda _url: up.set()})
    thread.start()
    try:
        with asking(server) as client:
            while client.get("/v2/models/flights/ready").status_code != 200:
                pass
            assert predict(client, "late").status_code == 200
            assert "endpoint 'trains'" in client.get("/readyz").json()["error"]
            assert not up.is_set()
            slow.arrive()
            assert up.wait(30)
            assert client.get("/readyz").status_code == 200
    finally:
        server.stop()
        thread.join()


def test_a_generation_is_in_effect_when_it_is_at_every_living_server(
    workspace: Workspace, register: Register, direct: Direct
) -> None:
    """Each server has rows of its own, and one that has stopped does not hold up who waits for them all."""
    alive = Presence(workspace.database, workspace.folder).present

    def reports() -> dict[str, int]:
        with workspace.database.read() as tx:
            found = list_reports(tx, "flights", alive=alive)
        assert observed_generation(found) == min((report.generation for report in found), default=0)
        return {report.server: report.generation for report in found}

    register(1)
    first = direct(1)
    with serving(workspace, ("flights",)) as one:
        with serving(workspace, ("flights",)) as other:
            follow(workspace, first)
            assert reports() == {one.id: 1, other.id: 1}
        follow(workspace, direct(1))
        assert reports() == {one.id: 2}
    assert reports() == {}


def test_looking_at_many_endpoints_asks_the_database_no_more_than_looking_at_one(
    workspace: Workspace, direct: Direct
) -> None:
    """Ten times a second, so it must not be a question for each."""

    def statements(*endpoints: str) -> float:
        """For each look of a server that has nothing to load, once it has looked five times."""
        counted = {"begin": 0, "statement": 0}
        enough = threading.Event()

        def begin(_connection: object) -> None:
            if threading.current_thread().name == "follower":
                counted["begin"] += 1
                if counted["begin"] == 6:
                    enough.set()

        def execute(*_what: object) -> None:
            if threading.current_thread().name == "follower" and 0 < counted["begin"] < 6:
                counted["statement"] += 1

        engine = workspace.database.engine
        with serving(workspace, endpoints):
            event.listen(engine, "begin", begin)
            event.listen(engine, "before_cursor_execute", execute)
            assert enough.wait(30)
            event.remove(engine, "begin", begin)
            event.remove(engine, "before_cursor_execute", execute)
        return counted["statement"] / 5

    names = [f"endpoint_{number}" for number in range(20)]
    for name in names:
        direct(None, endpoint=name, model=name)
    assert statements(*names) == statements(names[0]) > 0
