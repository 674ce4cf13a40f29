"""Promises of the server, kept over real connections: it speaks its protocols, refuses what is wrong, and follows."""

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from everloop.errors import Conflict, InvalidInput
from everloop.models.model import Model
from everloop.monitoring.inference_log import logged
from everloop.monitoring.labels import labelled
from everloop.records.serving import Arm, Traffic
from everloop.rollout.endpoints import list_reports, observed_generation
from everloop.rollout.routing import arm
from everloop.serving.errors import Overloaded
from everloop.serving.server import PredictionServer, serving
from everloop.serving.service import BackgroundThread
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace

Register = Callable[..., Model]
Direct = Callable[..., Traffic]
ROW: dict[str, Any] = {"dep_hour": 17, "temp": 3.5, "carrier": "UA", "holiday": False}
KINDS = {"dep_hour": "INT64", "temp": "FP64", "carrier": "BYTES", "holiday": "BOOL"}
INFER = "/v2/models/late/infer"
PREDICT = "/v1/models/late:predict"


def v2_body(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A version 2 request for these rows."""
    given_rows = rows or (ROW,)
    inputs = [
        {
            "name": name,
            "datatype": kind,
            "shape": [len(given_rows)],
            "data": [row[name] for row in given_rows],
        }
        for name, kind in KINDS.items()
    ]
    return {"inputs": inputs, **more}


def changed(name: str, /, **change: Any) -> dict[str, Any]:
    """A version 2 request with one tensor changed."""
    body = v2_body()
    next(tensor for tensor in body["inputs"] if tensor["name"] == name).update(change)
    return body


def follow(workspace: Workspace, traffic: Traffic) -> None:
    """Wait until every living server says that this generation is in effect."""
    tick = threading.Event()
    alive = Presence(workspace.database, workspace.folder).present
    for _ in range(500):
        with workspace.database.read() as tx:
            reports = list_reports(tx, traffic.endpoint, alive=alive)
        if observed_generation(reports) == traffic.generation:
            return
        tick.wait(0.02)
    raise AssertionError(f"generation {traffic.generation} was not put into effect in 10 s")


def test_both_protocols_give_the_model_s_own_scores(
    shared_client: httpx.Client, small_model: Callable[[int], Model]
) -> None:
    """One row and several, in version 1 and 2, answer what the model answers in process."""
    rows = [ROW, ROW | {"dep_hour": 5, "temp": None, "carrier": "never seen", "holiday": True}]
    scores = list(small_model(1).infer({name: [row[name] for row in rows] for name in KINDS})["late"])
    two = shared_client.post(INFER, json=v2_body(*rows, id="r")).raise_for_status().json()
    assert two["outputs"] == [{"name": "late", "shape": [2], "datatype": "FP64", "data": scores}]
    assert (two["id"], two["model_name"], two["model_version"]) == ("r", "late", "1")
    one = shared_client.post(PREDICT, json={"instances": [rows[0]]}).raise_for_status().json()
    assert one["predictions"] == scores[:1]
    versioned = (
        shared_client.post("/v2/models/late/versions/1/infer", json=v2_body()).raise_for_status().json()
    )
    assert versioned["outputs"][0]["data"] == scores[:1]


def test_what_clients_ask_before_they_infer(shared_client: httpx.Client) -> None:
    """Health, readiness and metadata have the fields that KServe's and Triton's clients read."""
    answers: dict[str, object] = {
        "/": {"status": "alive"},
        "/livez": {"live": True},
        "/readyz": {"ready": True, "live": True},
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True, "live": True},
        "/v2/models": {"models": ["late"]},
        "/v2/models/late/ready": {"name": "late", "ready": True},
        "/v2/models/late/versions/1/ready": {"name": "late", "ready": True},
        "/v1/models": {"models": ["late"]},
        "/v1/models/late": {"name": "late", "ready": True},
    }
    for path, expected in answers.items():
        answer = shared_client.get(path)
        assert (answer.status_code, answer.json()) == (200, expected), path
        assert answer.headers["content-type"] == "application/json"
    assert shared_client.get("/v2").json() == shared_client.get("/v2/").json()
    assert set(shared_client.get("/v2").json()) == {"name", "version", "extensions"}
    metadata = shared_client.get("/v2/models/late").json()
    assert [(tensor["name"], tensor["datatype"]) for tensor in metadata["inputs"]] == list(KINDS.items())
    assert metadata["outputs"] == [{"name": "late", "datatype": "FP64", "shape": [-1]}]
    assert metadata["versions"] == ["1"]
    head = shared_client.head("/v2/health/ready")
    assert (head.status_code, head.content) == (200, b"")


BAD_REQUESTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", INFER, {"content": b""}, 400, "the body is empty; expected a JSON object"),
    ("POST", INFER, {"content": b"{"}, 400, "the body is not JSON: Input data was truncated"),
    ("POST", INFER, {"content": b"\xff\xfe"}, 400, "the body is not JSON"),
    ("POST", INFER, {"json": [1, 2]}, 400, "Expected `object`, got `array`"),
    ("POST", INFER, {"json": {}}, 400, "missing required field `inputs`"),
    (
        "POST",
        INFER,
        {"json": changed("temp", datatype="INT32", data=[1.5])},
        400,
        "input 'temp', row 0 is 1.5",
    ),
    (
        "POST",
        INFER,
        {"json": changed("dep_hour", data=["7"])},
        400,
        "expected a whole number in the range of INT64",
    ),
    (
        "POST",
        INFER,
        {"json": changed("carrier", data=[None])},
        400,
        "input 'carrier', row 0 is null; expected a string",
    ),
    (
        "POST",
        INFER,
        {"content": b'{"inputs":[{"name":"temp","shape":[1],"datatype":"FP64","data":[NaN]}]}'},
        400,
        "not JSON",
    ),
    ("POST", INFER, {"content": json.dumps(v2_body()).replace("3.5", "1e999")}, 400, "Number out of range"),
    (
        "POST",
        INFER,
        {"json": changed("temp", name="tempp")},
        400,
        "input 'tempp' is unknown; expected dep_hour, temp",
    ),
    (
        "POST",
        INFER,
        {"json": changed("temp", shape=[3])},
        400,
        "input 'temp' has shape [3]; expected [1] or [1, 1]",
    ),
    (
        "POST",
        INFER,
        {"json": changed("temp", data=[1.0, 2.0])},
        400,
        "input 'temp' has 2 values for shape [1]",
    ),
    ("POST", INFER, {"json": v2_body(outputs=[{"name": "x"}])}, 400, "output 'x' is unknown; expected late"),
    (
        "POST",
        INFER,
        {"json": v2_body(parameters={"time": "noon"})},
        400,
        "parameter 'time': 'noon' is not a time",
    ),
    ("POST", INFER, {"content": b'{"x":' + b"[" * 90_000 + b"]" * 90_000 + b"}"}, 400, "nested too deeply"),
    ("POST", INFER, {"content": b" " * 4_194_305}, 413, "expected at most 4194304"),
    ("POST", PREDICT, {"json": {"instances": [[1]] * 10_001}}, 413, "10001 rows; expected at most 10000"),
    ("POST", PREDICT, {"json": {"instances": [{**ROW, "x": 1}]}}, 400, "instance 0: input 'x' is unknown"),
    ("POST", PREDICT, {"json": {"inputs": {}}}, 400, "unknown field `inputs`"),
    (
        "POST",
        INFER,
        {"content": gzip.compress(b"{}"), "headers": {"content-encoding": "gzip"}},
        415,
        "send the body as it is",
    ),
    (
        "POST",
        INFER,
        {"content": b"{}", "headers": {"inference-header-content-length": "2"}},
        415,
        "binary tensors are not supported",
    ),
    (
        "POST",
        "/v2/models/early/infer",
        {"json": v2_body()},
        404,
        "no model 'early' here; this server serves 'late'",
    ),
    (
        "POST",
        "/v2/models/late/versions/9/infer",
        {"json": v2_body()},
        404,
        "no version 9 at this endpoint; there is 1",
    ),
    (
        "POST",
        "/v2/models/late/versions/one/infer",
        {"json": v2_body()},
        404,
        "no version 'one'; versions are numbers",
    ),
    ("GET", INFER, {}, 405, "takes POST, not 'GET'"),
    ("DELETE", "/v2/models/late", {}, 405, "takes GET, not 'DELETE'"),
    ("POST", "/v2/repository/index", {"content": b""}, 404, "there is nothing at '/v2/repository/index'"),
    ("GET", "/v2/models/late/../../etc/passwd", {}, 404, "there is nothing at"),
    ("POST", "/labels", {"json": {"prediction_id": "p"}}, 400, "missing required field `label`"),
    ("POST", "/labels", {"json": {"prediction_id": "p", "label": "yes"}}, 400, "got `str` - at `$.label`"),
    (
        "POST",
        "/labels",
        {"json": {"prediction_id": "p", "label": 1}, "headers": {"origin": "https://evil.example"}},
        403,
        "a page of 'https://evil.example' may not send requests",
    ),
]


@pytest.mark.parametrize(("method", "path", "sent", "status", "told"), BAD_REQUESTS)
def test_a_bad_request_gets_its_status_and_a_reason(
    shared_client: httpx.Client, method: str, path: str, sent: dict[str, Any], status: int, told: str
) -> None:
    """The answer is `{"error": text}`; the text names the field, what is wrong and what is expected."""
    answer = shared_client.request(method, path, **sent)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert told in answer.json()["error"]
    if status == 405:
        assert answer.headers["allow"] in ("GET", "POST")
    assert shared_client.get("/readyz").status_code == 200


def test_a_body_of_unknown_length_is_read_no_further_than_the_limit(shared_client: httpx.Client) -> None:
    """A chunked body without end is refused as soon as it is too long, not when memory runs out."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 64 * 2**20:
            sent += 2**16
            yield b" " * 2**16

    answer = shared_client.post(INFER, content=endless())
    assert answer.status_code == 413
    assert "more than 4194304 bytes" in answer.json()["error"]


def test_a_head_without_end_is_cut_off(server: PredictionServer) -> None:
    """A client that sends headers for ever gets an answer and no more of the server's memory."""
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 0), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-filler: ")
        with pytest.raises(OSError):
            for _ in range(256):
                connection.sendall(b"a" * 2**16)


def test_a_client_that_never_finishes_its_request_is_sent_away(workspace: Workspace) -> None:
    """Neither half a head nor half a body nor silence keeps a connection for ever."""
    with serving(workspace, ("flights",), request_seconds=0.1) as server:
        url = httpx.URL(server.url)
        beginnings = (
            b"",
            b"GET /livez HTT",
            b"POST /labels HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
        )
        for beginning in beginnings:
            with socket.create_connection((url.host, url.port or 0), timeout=30) as connection:
                connection.sendall(beginning)
                assert connection.recv(1) == b""


def test_many_rows_are_answered_and_logged(
    client: httpx.Client, workspace: Workspace, small_model: Callable[[int], Model]
) -> None:
    """Ten thousand rows in one request get the model's scores, in order, and a prediction each."""
    rows = [ROW | {"dep_hour": n % 24, "temp": n / 100} for n in range(10_000)]
    scores = list(small_model(1).infer({name: [row[name] for row in rows] for name in KINDS})["late"])
    answer = client.post(PREDICT, json={"instances": [list(row.values()) for row in rows]}).json()
    assert answer["predictions"] == scores
    labelled_one = {"prediction_id": f"{answer['prediction_id']}/7", "label": 1}
    assert client.post("/labels", json=labelled_one).json()["accepted"] == 1
    with workspace.database.read() as tx:
        outputs = {row.prediction.id: row for row in labelled(tx, endpoint="flights")}
    assert len(outputs) == 10_000
    assert outputs[f"{answer['prediction_id']}/7"].prediction.output == scores[7]
    assert outputs[f"{answer['prediction_id']}/7"].label == 1.0


def test_a_database_that_fails_is_told_without_its_secrets(
    client: httpx.Client, workspace: Workspace
) -> None:
    """Labels are refused with 503, so that the sender tries again; predictions go on."""
    with workspace.database.write() as tx:
        tx.exec_driver_sql("ALTER TABLE labels RENAME TO elsewhere")
    answer = client.post("/labels", json={"prediction_id": "p", "label": 1})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"error": "the database does not answer. Next: try again later."}
    assert client.post(INFER, json=v2_body()).status_code == 200


def test_work_beside_the_loop_is_refused_when_too_much_waits() -> None:
    """The queue is bounded; what was taken is finished, and room comes back."""

    async def scene() -> None:
        background = BackgroundThread("test", most=1)
        go_on = threading.Event()
        first = asyncio.create_task(background(go_on.wait))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await background(lambda: 1)
        go_on.set()
        assert await first
        assert await background(lambda: 2) == 2
        background.close()

    asyncio.run(scene())


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([*KINDS, "x", ""]) | JSONS,
        "shape": st.lists(st.integers(-2, 3), max_size=3) | JSONS,
        "datatype": st.sampled_from([*KINDS.values(), "FP32", "UINT8", "FP16", ""]) | JSONS,
        "data": st.lists(JSONS, max_size=3) | JSONS,
        "parameters": JSONS,
    },
)
NEARLY_RIGHT = st.builds(
    lambda name, change, more: {**changed(name, **change), **more},
    st.sampled_from(list(KINDS)),
    CHANGES,
    st.fixed_dictionaries({}, optional={"id": JSONS, "parameters": JSONS, "outputs": JSONS}),
)
NEARLY_LABELS = st.fixed_dictionaries({"prediction_id": JSONS, "label": JSONS}, optional={"time": JSONS})
FUZZ = (
    st.tuples(st.sampled_from([INFER, PREDICT, "/labels", "/nowhere"]), st.binary(max_size=60) | JSONS)
    | st.tuples(st.just(INFER), NEARLY_RIGHT)
    | st.tuples(st.just(PREDICT), st.builds(lambda i: {"instances": i}, st.lists(JSONS, max_size=3)))
    | st.tuples(
        st.just("/labels"), NEARLY_LABELS | st.builds(lambda i: {"labels": i}, st.lists(NEARLY_LABELS))
    )
)


@settings(max_examples=200, deadline=None)
@given(FUZZ)
def test_no_body_makes_the_server_fail(shared_client: httpx.Client, sent: tuple[str, object]) -> None:
    """Whatever is sent, the answer is 200 or a 4xx in the protocols' error shape."""
    path, body = sent
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = shared_client.post(path, content=content)
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert set(answer.json()) == {"error"}


def test_labels_join_their_predictions(client: httpx.Client, workspace: Workspace) -> None:
    """A label is in the database behind the prediction that it names, whatever the order, and once."""
    ids = [client.post(INFER, json=v2_body()).json()["parameters"]["prediction_id"] for _ in range(5)]
    early = {"prediction_id": "of another server", "label": 1}
    labels = [
        {"prediction_id": id, "label": n % 2, "time": "2013-02-01T00:00:00Z"} for n, id in enumerate(ids)
    ]
    first = client.post("/labels", json={"labels": [*labels, early]}).raise_for_status().json()
    assert first == {"accepted": 6, "duplicates": 0, "corrections": 0}
    again = client.post("/labels", json={"prediction_id": ids[0], "label": True}).raise_for_status().json()
    assert again == {"accepted": 0, "duplicates": 0, "corrections": 1}
    with workspace.database.read() as tx:
        rows = {row.prediction.id: (row.label, row.labelled_at) for row in labelled(tx, endpoint="flights")}
    assert [rows[id][0] for id in ids] == [1.0, 1.0, 0.0, 1.0, 0.0]
    assert rows[ids[1]][1] == datetime(2013, 2, 1, tzinfo=UTC)


def test_metrics_count_what_happened(client: httpx.Client) -> None:
    """Prometheus reads requests by version, protocol and status, durations, and the state of the log."""
    for _ in range(3):
        client.post(INFER, json=v2_body())
    client.post(PREDICT, json={"instances": [[1]]})
    client.post("/v2/models/made-up-by-a-client/infer", json=v2_body())
    client.get("/made/up/by/a/client")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.text.endswith("\n") and "made" not in answer.text
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    counted = {
        tuple(sample.labels.values()): sample.value
        for sample in families["everloop_inference_requests"].samples
    }
    assert counted == {
        ("late", "1", "v2", "200"): 3.0,
        ("late", "", "v1", "400"): 1.0,
        ("late", "", "v2", "404"): 1.0,
    }
    assert families["everloop_inference_log_dropped"].samples[0].value == 0.0
    assert families["everloop_endpoint_generation"].samples[0].labels == {"endpoint": "flights"}
    for name in ("request_preprocess_seconds", "request_predict_seconds", "request_postprocess_seconds"):
        samples = {
            sample.name: sample
            for sample in families[name].samples
            if sample.labels.get("le", "+Inf") == "+Inf"
        }
        assert samples[f"{name}_count"].value == samples[f"{name}_bucket"].value == 3.0
        assert samples[f"{name}_sum"].value > 0
    routes = {
        sample.labels["http_route"] for sample in families["http_server_request_duration_seconds"].samples
    }
    assert routes == {"/v2/models/{model}/infer", "/v1/models/{model}:predict", "unknown"}


def test_an_endpoint_without_a_champion_is_live_and_says_what_to_do(
    workspace: Workspace, register: Register, direct: Direct
) -> None:
    """It refuses with 503, the reason and the next step, and answers as soon as there is a version."""
    with serving(workspace, ("flights",)) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/models").json() == {"models": []}
        for answer in (
            client.get("/readyz"),
            client.get("/v1/models/late"),
            client.post(INFER, json=v2_body()),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "has no model version to answer with yet. Next: run the pipeline" in answer.json()["error"]
        follow(workspace, direct(None))
        assert client.get("/readyz").status_code == 503
        register(1)
        follow(workspace, direct(1))
        assert client.get("/readyz").status_code == 200
        assert client.post(INFER, json=v2_body()).status_code == 200


def test_the_server_follows_a_rollout_and_loses_no_request(
    client: httpx.Client, server: PredictionServer, workspace: Workspace, register: Register, direct: Direct
) -> None:
    """Through canary, shadow, promotion and a version that does not exist, every request is answered and logged."""
    models = {1: register(2), 2: register(3)}
    assert models[1] is not models[2]
    answered: list[str] = []

    def ask(number: int) -> dict[str, Any]:
        body = client.post(INFER, json=v2_body(id=f"r{number}")).raise_for_status().json()
        answered.append(body["parameters"]["prediction_id"])
        return dict(body)

    follow(workspace, direct(1, canary=2, percent=50, shadow=True))
    for number in range(40):
        expected = arm(f"r{number}", "salt", 50)
        body = ask(number)
        assert (body["parameters"]["arm"], body["model_version"]) == (
            expected,
            "2" if expected is Arm.CANARY else "1",
        )
    direct(9)
    ask(40)
    follow(workspace, direct(2))
    assert ask(41)["model_version"] == "2"
    assert client.post("/labels", json={"prediction_id": answered[-1], "label": 1}).status_code == 200
    with workspace.database.read() as tx:
        rows = logged(tx, endpoint="flights")
    assert sorted(row.id for row in rows if row.arm is not Arm.SHADOW) == sorted(answered)
    pairs = [row for row in rows if row.id == answered[0]]
    assert {row.version for row in pairs} == {1, 2} and {row.arm for row in pairs} > {Arm.SHADOW}


def test_the_last_answers_announce_the_end_of_their_connection(
    client: httpx.Client, server: PredictionServer
) -> None:
    """While the server stops, a client that is still asking is told to connect elsewhere, and is not cut off."""
    assert "connection" not in client.post(INFER, json=v2_body()).headers
    server.stop()
    for _ in range(10_000):
        answer = client.post(INFER, json=v2_body())
        if answer.headers.get("connection") == "close":
            break
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")


def test_a_port_that_is_taken_is_named(server: PredictionServer, workspace: Workspace) -> None:
    """Who cannot listen says where, and what to do."""
    port = httpx.URL(server.url).port
    assert port is not None
    with pytest.raises(Conflict, match=f"cannot listen at 127.0.0.1:{port}"):
        PredictionServer(workspace, ("flights",), "127.0.0.1", port)
    with pytest.raises(InvalidInput, match="is no address to listen at"):
        PredictionServer(workspace, ("flights",), "no such host.invalid", 0)
