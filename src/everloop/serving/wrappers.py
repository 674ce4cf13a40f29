"""What stands around every route: each function takes the callable below it and gives one back."""

import logging
import time
from collections.abc import Mapping

from everloop.errors import EverloopError, Refused, shown
from everloop.serving.errors import (
    MethodNotAllowed,
    Overloaded,
    TooLarge,
    TooSlow,
    UnsupportedContent,
    refuse,
    status_of,
)
from everloop.serving.routes import Router
from everloop.serving.service import Handler, Request, Response, Service

_logger = logging.getLogger(__name__)

MOST_BYTES = 4 * 1024 * 1024
"""One body."""
MOST_HELD = 256 * 1024 * 1024
"""All bodies that are in the house at one moment."""


def counted(service: Service, call: Handler) -> Handler:
    """Count and time every request, by names that clients cannot make up."""

    async def handle(request: Request) -> Response:
        started = time.perf_counter()
        response = await call(request)
        route = request.route
        known = ("other", "unknown") if route is None else (route.method, route.template)
        service.metrics.http.observe((*known, str(response.status)), time.perf_counter() - started)
        return response

    return handle


def answering(_service: Service, call: Handler) -> Handler:
    """Turn errors into answers, in the shape of the dialect whose path was asked."""

    async def handle(request: Request) -> Response:
        try:
            return await call(request)
        except Exception as error:  # a request must never end without an answer
            status = status_of(error)
            if not isinstance(error, EverloopError):
                _logger.error("%s %s failed", request.method, shown(request.path), exc_info=error)
            dialect = None if request.route is None else request.route.dialect
            told = refuse(error) if dialect is None else dialect.refuse(error)
            return Response(status, told, headers=_headers_of(error, status))

    return handle


def routed(service: Service, call: Handler) -> Handler:
    """Find the route, or say which paths and methods there are."""
    router = Router(service.dialects)

    async def handle(request: Request) -> Response:
        request.route, request.params = router.find(request.method, request.path)
        return await call(request)

    return handle


def guarded(_service: Service, call: Handler) -> Handler:
    """Refuse what a body may not be, and pages of other sites that write through somebody's browser."""

    async def handle(request: Request) -> Response:
        if request.method == "POST":
            _check_content(request.headers)
            _check_origin(request.headers)
        return await call(request)

    return handle


def limited(service: Service, call: Handler) -> Handler:
    """Read the body, but not more of it than may be; how long it may take is the connection's business."""

    async def handle(request: Request) -> Response:
        if request.method != "POST":
            return await call(request)
        try:
            request.body = await _read_body(service, request)
            return await call(request)
        finally:
            service.held -= request.held

    return handle


def _check_content(headers: Mapping[bytes, bytes]) -> None:
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"", b"identity"):
        raise UnsupportedContent(
            f"content-encoding {shown(encoding.decode('latin-1'))} is not supported; send the body as it is.",
            next_step="leave the encoding out.",
        )
    if b"inference-header-content-length" in headers:
        raise UnsupportedContent(
            "binary tensors are not supported; send the values as JSON (binary_data=False).",
            next_step="send them so.",
        )


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    # A browser sends Origin with every POST; other clients do not. A foreign page may not write labels or predictions.
    origin = headers.get(b"origin")
    if origin is not None and origin.rpartition(b"//")[2] != headers.get(b"host"):
        raise Refused(
            f"a page of {shown(origin.decode('latin-1'))} may not send requests to this server.",
            next_step="ask from a program, or from a page of this server.",
        )


async def _read_body(service: Service, request: Request) -> bytes:
    declared = request.headers.get(b"content-length", b"0")
    if not declared.isdigit() or len(declared) > 15 or int(declared) > MOST_BYTES:
        raise TooLarge(
            f"the body has {shown(declared.decode('latin-1'))} bytes; expected at most {MOST_BYTES}.",
            next_step="send several smaller requests.",
        )
    chunks: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise TooSlow("the client left before its body was complete.", next_step="send it again, whole.")
        chunks.append(message.get("body", b""))
        request.held += len(chunks[-1])
        service.held += len(chunks[-1])
        if request.held > MOST_BYTES:
            raise TooLarge(
                f"the body has more than {MOST_BYTES} bytes, which is the most that is taken.",
                next_step="send several smaller requests.",
            )
        if service.held > MOST_HELD:
            raise Overloaded(
                "too many large requests are being read.", next_step="send it again in a second."
            )
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _headers_of(error: Exception, status: int) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, MethodNotAllowed):
        return ((b"allow", ", ".join(error.allow).encode()),)
    return ((b"retry-after", b"1"),) if status == 503 else ()
