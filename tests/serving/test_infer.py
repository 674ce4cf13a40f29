"""Promises of the one `Infer`: what wraps it is around every dialect, and around who comes without any protocol."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest

from everloop.errors import EverloopError, NotFound
from everloop.models.compiled import CompiledSignature
from everloop.models.model import Model
from everloop.monitoring.inference_log import InferenceLog, logged
from everloop.records.serving import Arm, TrafficSplit
from everloop.serving import infer as infer_module
from everloop.serving.app import App
from everloop.serving.dataplane import Answer, DataPlane
from everloop.serving.dialects import DIALECTS
from everloop.serving.dialects.v1 import V1
from everloop.serving.infer import INFER, Infer, InferContext, InferenceCall, compose_infer
from everloop.serving.metrics import ServerMetrics
from everloop.serving.planes import Planes
from everloop.serving.protocol import InferenceRequest
from everloop.serving.server import serving
from everloop.serving.service import Service
from everloop.storage.workspace import Workspace
from tests.serving.test_dataplane import ON_TRIAL, Always
from tests.serving.test_server import INFER as V2_PATH
from tests.serving.test_server import PREDICT as V1_PATH
from tests.serving.test_server import ROW, v2_body


@pytest.fixture
def log(workspace: Workspace) -> Iterator[InferenceLog]:
    """A log in a real database."""
    log = InferenceLog(workspace.database, every=0.01)
    yield log
    log.close()


@pytest.fixture
def context(workspace: Workspace, log: InferenceLog) -> InferContext:
    """One endpoint with two versions, of which the second is on trial and scores each request in the shadow."""
    models = {1: Always(0.1), 2: Always(0.2)}
    plane = DataPlane(
        "flights", load=lambda _, v: models[v], log=log, now=workspace.now, new_id=workspace.new_id
    )
    planes = Planes([plane])
    planes.apply(replace(ON_TRIAL, split=TrafficSplit(stable=100), shadow=True))
    return InferContext(planes, ServerMetrics())


def one_row(signature: CompiledSignature) -> InferenceRequest:
    """What somebody asks who has no body to send."""
    return InferenceRequest(signature=signature, columns={"hour": [7], "temp": [None]}, rows=1)


def counts(metrics: ServerMetrics) -> dict[tuple[str, ...], float]:
    """Inferences by model, version, dialect and status."""
    family = next(f for f in metrics.collect() if f.name == "everloop_inference_requests")
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_a_wrapper_is_around_every_dialect_and_around_a_call_without_one(
    monkeypatch: pytest.MonkeyPatch,
    workspace: Workspace,
    register: Callable[..., Model],
    direct: Callable[..., object],
    context: InferContext,
) -> None:
    """It is a function and its place in the list; it sees whom each call asks, and the answer."""
    seen: list[tuple[str, str, int]] = []

    def traced(_context: InferContext, infer: Infer) -> Infer:
        def call(asked: InferenceCall) -> Answer:
            answer = infer(asked)
            seen.append((asked.dialect, asked.model, answer.response.version))
            return answer

        return call

    monkeypatch.setattr(infer_module, "INFER", (*INFER, traced))
    register(1)
    direct(1)
    with serving(workspace, ("flights",)) as server, httpx.Client(base_url=server.url) as client:
        client.post(V2_PATH, json=v2_body()).raise_for_status()
        client.post(V1_PATH, json={"instances": [ROW]}).raise_for_status()
    compose_infer(context)(InferenceCall("notebook", "flights", one_row))
    assert seen == [("v2", "late", 1), ("v1", "late", 1), ("notebook", "flights", 1)]


def test_who_cannot_be_answered_is_refused_before_anything_is_read(context: InferContext) -> None:
    """An unknown name, an unknown version and what is no version are counted as inferences, under no made-up name."""
    infer = compose_infer(context)

    def unread(_signature: CompiledSignature) -> InferenceRequest:
        raise AssertionError("it was read")

    for model, version in (("made up", None), ("late", "3"), ("late", "three")):
        with pytest.raises(NotFound):
            infer(InferenceCall("v2", model, unread, version))
    assert counts(context.metrics) == {("late", "", "v2", "404"): 3.0}


def test_a_version_that_is_asked_for_answers(context: InferContext) -> None:
    """As it was sent, in letters."""
    answer = compose_infer(context)(InferenceCall("v2", "late", one_row, "2"))
    assert (answer.response.version, answer.response.values["late"]) == (2, [0.2])
    assert counts(context.metrics) == {("late", "2", "v2", "200"): 1.0}


def test_the_shadow_is_what_is_left_to_do_after_the_answer(
    monkeypatch: pytest.MonkeyPatch, context: InferContext, workspace: Workspace, log: InferenceLog
) -> None:
    """The other revision scores the request when the answer is out, and never where nobody wraps it so."""

    def arms() -> list[Arm]:
        log.flush()
        with workspace.database.read() as tx:
            return [row.arm for row in logged(tx, endpoint="flights")]

    answer = compose_infer(context)(InferenceCall("v2", "late", one_row))
    assert arms() == [Arm.STABLE]
    for work in answer.after:
        work()
    assert sorted(arms()) == [Arm.SHADOW, Arm.STABLE]
    monkeypatch.setattr(infer_module, "INFER", (infer_module.measured, infer_module.admitted))
    assert compose_infer(context)(InferenceCall("v2", "late", one_row)).after == ()


def test_threads_lose_no_count(context: InferContext) -> None:
    """Large requests are answered beside the event loop, and a count is a count there, too."""
    infer = compose_infer(context)

    def ask() -> None:
        for _ in range(300):
            infer(InferenceCall("v2", "late", one_row))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(context.metrics) == {("late", "1", "v2", "200"): 1200.0}


def test_a_dialect_refuses_in_its_own_shape(workspace: Workspace, context: InferContext) -> None:
    """One more dialect is one more row; paths of the others, and of none, keep their shape."""

    def refuse(error: Exception) -> bytes:
        assert isinstance(error, EverloopError)
        return json.dumps({"code": type(error).__name__, "message": error.reason}).encode()

    mine = replace(V1, name="mine", routes={"/ask/{model}": None}, refuse=refuse)
    service = Service(
        context.planes,
        record=lambda _labels: pytest.fail("nobody sends labels"),
        metrics=context.metrics,
        now=workspace.now,
        dialects=(*DIALECTS, mine),
    )

    async def scene() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=App(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            good = {"instances": [[7, None]]}
            return [
                await client.post("/ask/late", json=good),
                await client.post("/ask/early", json=good),
                await client.post("/ask/late", content=b"{"),
                await client.post("/v1/models/early:predict", json=good),
                await client.post("/nowhere", json=good),
            ]

    answered, unknown, unread, v1, nowhere = asyncio.run(scene())
    service.close()
    assert answered.json()["predictions"] == [0.1]
    assert (unknown.status_code, unknown.json()["code"]) == (404, "NotFound")
    assert (unread.status_code, unread.json()["code"]) == (400, "InvalidInput")
    assert (v1.status_code, set(v1.json())) == (404, {"error"})
    assert (nowhere.status_code, set(nowhere.json())) == (404, {"error"})
    assert counts(context.metrics) == {
        ("late", "1", "mine", "200"): 1.0,
        ("late", "", "mine", "404"): 1.0,
        ("late", "", "mine", "400"): 1.0,
        ("late", "", "v1", "404"): 1.0,
    }
