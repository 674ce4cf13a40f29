"""What each route does."""

import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import msgspec

from everloop.serving.dialects.dialect import Dialect, Look
from everloop.serving.infer import InferenceCall
from everloop.serving.labels import read_labels
from everloop.serving.metrics import CONTENT_TYPE
from everloop.serving.planes import Planes
from everloop.serving.service import Request, Response, Service

_encode = msgspec.json.Encoder().encode
INLINE_BYTES = 64 * 1024
"""A larger body is worked on beside the event loop, so that small requests do not wait behind it."""
_After = tuple[Callable[[], None], ...]


def alive(_planes: Planes, _path: Mapping[str, str]) -> tuple[int, bytes]:
    """KServe's version 1 asks for this at `/`."""
    return 200, b'{"status":"alive"}'


def looking(look: Look) -> Callable[[Service, Request], Coroutine[Any, Any, Response]]:
    """What answers where something is asked about the models that are served."""

    async def handle(service: Service, request: Request) -> Response:
        status, body = look(service.planes, request.params)
        return Response(status, body, headers=((b"retry-after", b"1"),) if status == 503 else ())

    return handle


def inferring(dialect: Dialect) -> Callable[[Service, Request], Coroutine[Any, Any, Response]]:
    """What answers where inferences are posted."""

    async def handle(service: Service, request: Request) -> Response:
        small = len(request.body) <= INLINE_BYTES
        if small:
            body, after = _infer(service, dialect, request.body, request.params)
        else:
            work = partial(_infer, service, dialect, request.body, request.params)
            body, after = await service.background(work)
        return Response(200, body, after=_later(service, after, small) if after else None)

    return handle


async def show_metrics(service: Service, _request: Request) -> Response:
    """Prometheus' text format."""
    return Response(200, service.metrics.text(), CONTENT_TYPE.encode())


async def record_labels(service: Service, request: Request) -> Response:
    """True answers, one or many; the receipt says what became of them."""
    labels = read_labels(request.body, service.now)
    receipt = await service.labelling(lambda: service.record(labels))
    return Response(200, _encode(receipt))


def _infer(service: Service, dialect: Dialect, body: bytes, path: Mapping[str, str]) -> tuple[bytes, _After]:
    """The hot path, a plain function: from bytes to bytes, and what is left to do when they have been sent."""
    read = partial(dialect.read, body)
    answer = service.infer(InferenceCall(dialect.name, path["model"], read, path.get("version")))
    started = time.perf_counter()
    written = dialect.write(answer.response)
    service.metrics.postprocess.observe((answer.response.model,), time.perf_counter() - started)
    return written, answer.after


def _later(service: Service, after: _After, small: bool) -> Callable[[], Coroutine[Any, Any, None]]:
    async def later() -> None:
        for work in after:
            if small:
                work()
            else:
                await service.background(work, always=True)

    return later
