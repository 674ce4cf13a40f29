"""What each route does."""

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from everloop.errors import NotFound, shown
from everloop.models.compiled import CompiledSignature
from everloop.serving import v1, v2
from everloop.serving.dataplane import Answer, Revision
from everloop.serving.errors import ModelFailed
from everloop.serving.labels import read_labels
from everloop.serving.metrics import CONTENT_TYPE
from everloop.serving.protocol import InferenceRequest, InferenceResponse
from everloop.serving.service import Request, Response, Service

_encode = msgspec.json.Encoder().encode
INLINE_BYTES = 64 * 1024
"""A larger body is worked on beside the event loop, so that small requests do not wait behind it."""


async def alive(_service: Service, _request: Request) -> Response:
    """KServe's version 1 asks for this at `/`."""
    return Response(200, b'{"status":"alive"}')


async def live(_service: Service, _request: Request) -> Response:
    """It receives requests, so it is live."""
    return Response(200, b'{"live":true}')


async def ready(service: Service, _request: Request) -> Response:
    """Whether it can answer; clients disagree on the field's name, so both are sent."""
    why = service.why_not_ready()
    if why is None:
        return Response(200, b'{"ready":true,"live":true}')
    return _unavailable({"ready": False, "live": True, "error": why})


async def show_metrics(service: Service, _request: Request) -> Response:
    """Prometheus' text format."""
    return Response(200, service.metrics.text(), CONTENT_TYPE.encode())


async def describe_server(service: Service, _request: Request) -> Response:
    """Name, version and extensions."""
    return Response(200, _encode({"name": "everloop", "version": service.release, "extensions": []}))


async def list_models(service: Service, _request: Request) -> Response:
    """The one model of this endpoint, once there is one."""
    loaded = service.plane.loaded
    return Response(200, _encode({"models": [] if loaded is None else [loaded.traffic.model]}))


async def describe_model(service: Service, request: Request) -> Response:
    """Inputs and outputs of a model, in the words of version 2."""
    revision = _revision(service, request)
    loaded = service.plane.loaded
    versions = sorted(loaded.revisions) if loaded is not None else []
    return Response(200, v2.metadata(revision.model, versions, revision.signature))


async def model_ready(service: Service, request: Request) -> Response:
    """Whether a model, or one version of it, can answer."""
    name = request.params["model"]
    why = service.why_not_ready()
    if why is not None:
        return _unavailable({"name": name, "ready": False, "error": why})
    _revision(service, request)
    return Response(200, _encode({"name": name, "ready": True}))


async def infer_v2(service: Service, request: Request) -> Response:
    """An inference in the Open Inference Protocol."""
    return await _infer(service, request, "v2", v2.read, v2.write)


async def predict_v1(service: Service, request: Request) -> Response:
    """An inference in KServe's version 1."""
    return await _infer(service, request, "v1", v1.read, v1.write)


async def record_labels(service: Service, request: Request) -> Response:
    """True answers, one or many; the receipt says what became of them."""
    labels = read_labels(request.body, service.now)
    receipt = await service.labelling(lambda: service.record(labels))
    return Response(200, _encode(receipt))


async def _infer(
    service: Service,
    request: Request,
    protocol: str,
    read: Callable[[bytes, CompiledSignature], InferenceRequest],
    write: Callable[[InferenceResponse], bytes],
) -> Response:
    request.protocol = protocol

    def work() -> tuple[Answer, bytes, float, float]:
        start = time.perf_counter()
        asked = read(request.body, _revision(service, request).signature)
        read_at = time.perf_counter()
        answer = service.plane.infer(asked, version=_version(request))
        answered_at = time.perf_counter()
        body = write(answer.response)
        return answer, body, read_at - start, time.perf_counter() - answered_at

    small = len(request.body) <= INLINE_BYTES
    try:
        answer, body, reading, writing = work() if small else await service.background(work)
    except ModelFailed as error:
        request.version = str(error.version)
        raise
    response = answer.response
    request.version = str(response.version)
    labels = (response.model,)
    service.metrics.preprocess.observe(labels, reading)
    service.metrics.predict.observe(labels, answer.seconds)
    service.metrics.postprocess.observe(labels, writing)
    after = None if answer.shadow is None else _later(service, answer.shadow, small)
    return Response(200, body, after=after)


def _later(
    service: Service, shadow: Callable[[], None], small: bool
) -> Callable[[], Coroutine[Any, Any, None]]:
    async def later() -> None:
        if small:
            shadow()
        else:
            await service.background(shadow, always=True)

    return later


def _revision(service: Service, request: Request) -> Revision:
    return service.plane.revision(request.params["model"], _version(request))


def _version(request: Request) -> int | None:
    sent = request.params.get("version")
    if sent is None:
        return None
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 9):
        raise NotFound(
            f"there is no version {shown(sent)}; versions are numbers.",
            next_step="ask for a number, or for no version.",
        )
    return int(sent)


def _unavailable(body: Mapping[str, object]) -> Response:
    return Response(503, _encode(body), headers=((b"retry-after", b"1"),))
