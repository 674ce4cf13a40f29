"""The prediction service over HTTP: one plain ASGI callable from a visible list of routes and a visible list of wrappers."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from everloop.clock import Clock
from everloop.errors import EverloopError, InvalidInput, NotFound, NotReady, Refused
from everloop.monitoring.labels import LabelReceipt
from everloop.records.serving import Label
from everloop.serving import v1, v2
from everloop.serving.dataplane import Answer, DataPlane, Revision
from everloop.serving.errors import (
    MethodNotAllowed,
    ModelFailed,
    Overloaded,
    TooLarge,
    TooSlow,
    UnsupportedContent,
    shown,
    status_of,
    told,
)
from everloop.serving.metrics import CONTENT_TYPE, Metrics
from everloop.serving.protocol import (
    MOST_ROWS,
    Contract,
    InferenceRequest,
    InferenceResponse,
    checked_id,
    decode,
    event_time,
)

_logger = logging.getLogger(__name__)
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_json = b"application/json"

MOST_BYTES = 4 * 1024 * 1024
"""One body."""
MOST_HELD = 256 * 1024 * 1024
"""All bodies that are in the house at one moment."""
BODY_SECONDS = 30.0
INLINE_BYTES = 64 * 1024
"""A larger body is worked on beside the event loop, so that small requests do not wait behind it."""


class Response(NamedTuple):
    """What goes out."""

    status: int
    body: bytes
    content_type: bytes = _json
    headers: tuple[tuple[bytes, bytes], ...] = ()
    after: Callable[[], Awaitable[None]] | None = None
    """What is left to do when the client has its answer."""


class Request:
    """What came in, and what is learned about it on the way."""

    __slots__ = (
        "body",
        "headers",
        "held",
        "method",
        "params",
        "path",
        "protocol",
        "receive",
        "route",
        "version",
    )

    def __init__(self, scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]]) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        self.route: Route | None = None
        self.params: Mapping[str, str] = {}
        self.body = b""
        self.held = 0
        """Bytes of the body that have arrived."""
        self.protocol = ""
        """The inference protocol, once it is known that this is an inference."""
        self.version = ""
        """The version that answered."""


Handler = Callable[[Request], Awaitable[Response]]


class App:
    """The ASGI application of one endpoint.

    `record` keeps labels and says what became of them; it is called in a thread, once everything that this
    process has answered is durable. `draining` makes every further answer the last of its connection.
    """

    def __init__(
        self,
        plane: DataPlane,
        *,
        record: Callable[[Sequence[Label]], LabelReceipt],
        metrics: Metrics,
        now: Clock,
        release: str = "",
    ) -> None:
        self.plane, self.record, self.metrics, self.now, self.release = plane, record, metrics, now, release
        self.draining = False
        self.held = 0
        self.beside = _Beside("large-requests", most=64)
        self.labelling = _Beside("labels", most=64)
        handle: Handler = self._dispatch
        for wrap in reversed(WRAPPERS):
            handle = wrap(self, handle)
        self._handle = handle

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"this application speaks HTTP only, not {scope['type']}")
        response = await self._handle(Request(scope, receive))
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", b"%d" % len(response.body)),
            *response.headers,
        ]
        if self.draining:
            # Said in the last answer, or the client's next request races with the closing of the connection.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        if response.after is not None:
            await response.after()

    def close(self) -> None:
        """Let the threads end."""
        self.beside.close()
        self.labelling.close()

    async def _dispatch(self, request: Request) -> Response:
        assert request.route is not None, "routing stands in the list of wrappers"
        return await request.route.handle(self, request)


class _Beside:
    """One thread for work that would hold up the event loop, with a queue that does not grow without end."""

    def __init__(self, name: str, *, most: int) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._most, self._waiting = most, 0

    async def __call__(self, work: Callable[[], T], *, always: bool = False) -> T:
        """Do it in the thread; raises Overloaded when too much waits already."""
        if self._waiting >= self._most and not always:
            raise Overloaded("too many large requests are waiting.", next_step="send it again in a second.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown()


# What the routes do.


async def alive(_app: App, _request: Request) -> Response:
    """KServe's version 1 asks for this at `/`."""
    return Response(200, b'{"status":"alive"}')


async def live(_app: App, _request: Request) -> Response:
    """It receives requests, so it is live."""
    return Response(200, b'{"live":true}')


async def ready(app: App, _request: Request) -> Response:
    """Whether it can answer; clients disagree on the field's name, so both are sent."""
    why = _not_ready(app)
    if why is None:
        return Response(200, b'{"ready":true,"live":true}')
    return _unavailable({"ready": False, "live": True, "error": why})


async def show_metrics(app: App, _request: Request) -> Response:
    """Prometheus' text format."""
    return Response(200, app.metrics.text(), CONTENT_TYPE.encode())


async def describe_server(app: App, _request: Request) -> Response:
    """Name, version and extensions."""
    return Response(200, _encode({"name": "everloop", "version": app.release, "extensions": []}))


async def list_models(app: App, _request: Request) -> Response:
    """The one model of this endpoint, once there is one."""
    plan = app.plane.plan
    return Response(200, _encode({"models": [] if plan is None else [plan.traffic.model]}))


async def describe_model(app: App, request: Request) -> Response:
    """Inputs and outputs of a model, in the words of version 2."""
    revision = _revision(app, request)
    plan = app.plane.plan
    loaded = sorted(plan.revisions) if plan is not None else []
    return Response(200, v2.metadata(revision.model, loaded, revision.contract))


async def model_ready(app: App, request: Request) -> Response:
    """Whether a model, or one version of it, can answer."""
    name = request.params["model"]
    why = _not_ready(app)
    if why is not None:
        return _unavailable({"name": name, "ready": False, "error": why})
    _revision(app, request)
    return Response(200, _encode({"name": name, "ready": True}))


async def infer_v2(app: App, request: Request) -> Response:
    """An inference in the Open Inference Protocol."""
    return await _infer(app, request, "v2", v2.read, v2.write)


async def predict_v1(app: App, request: Request) -> Response:
    """An inference in KServe's version 1."""
    return await _infer(app, request, "v1", v1.read, v1.write)


async def take_labels(app: App, request: Request) -> Response:
    """True answers, one or many; the receipt says what became of them."""
    labels = read_labels(request.body, app.now)
    receipt = await app.labelling(lambda: app.record(labels))
    return Response(200, _encode(receipt))


async def _infer(
    app: App,
    request: Request,
    protocol: str,
    read: Callable[[bytes, Contract], InferenceRequest],
    write: Callable[[InferenceResponse], bytes],
) -> Response:
    request.protocol = protocol

    def work() -> tuple[Answer, bytes, float, float]:
        start = time.perf_counter()
        asked = read(request.body, _revision(app, request).contract)
        read_at = time.perf_counter()
        answer = app.plane.infer(asked, version=_version(request))
        answered_at = time.perf_counter()
        body = write(answer.response)
        return answer, body, read_at - start, time.perf_counter() - answered_at

    small = len(request.body) <= INLINE_BYTES
    try:
        answer, body, reading, writing = work() if small else await app.beside(work)
    except ModelFailed as error:
        request.version = str(error.version)
        raise
    response = answer.response
    request.version = str(response.version)
    labels = (response.model,)
    app.metrics.preprocess.observe(labels, reading)
    app.metrics.predict.observe(labels, answer.seconds)
    app.metrics.postprocess.observe(labels, writing)
    after = None if answer.shadow is None else _later(app, answer.shadow, small)
    return Response(200, body, after=after)


def _later(app: App, shadow: Callable[[], None], small: bool) -> Callable[[], Coroutine[Any, Any, None]]:
    async def later() -> None:
        if small:
            shadow()
        else:
            await app.beside(shadow, always=True)

    return later


def _revision(app: App, request: Request) -> Revision:
    return app.plane.revision(request.params["model"], _version(request))


def _version(request: Request) -> int | None:
    sent = request.params.get("version")
    if sent is None:
        return None
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 9):
        raise NotFound(f"there is no version {shown(sent)}; versions are numbers.")
    return int(sent)


def _not_ready(app: App) -> str | None:
    if app.draining:
        return "the server is stopping."
    try:
        app.plane.check_ready()
    except NotReady as error:
        return str(error)
    return None


def _unavailable(body: Mapping[str, object]) -> Response:
    return Response(503, _encode(body), headers=((b"retry-after", b"1"),))


# Labels.


class _Label(msgspec.Struct, forbid_unknown_fields=True):
    prediction_id: str
    label: bool | int | float
    time: str | None = None


class _Labels(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[_Label]


_one_label = msgspec.json.Decoder(_Label)
_many_labels = msgspec.json.Decoder(_Labels)
_any_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_labels(body: bytes, now: Clock) -> list[Label]:
    """Decode `{"prediction_id", "label", "time"?}`, or `{"labels": [...]}` with many of them.

    Raises InvalidInput that names the place and what is expected.
    """
    many = "labels" in decode(_any_object, body)
    sent = decode(_many_labels, body).labels if many else [decode(_one_label, body)]
    if len(sent) > MOST_ROWS:
        raise TooLarge(f"the request has {len(sent)} labels; expected at most {MOST_ROWS}.")
    return [_label(place, label, now) for place, label in enumerate(sent)]


def _label(place: int, sent: _Label, now: Clock) -> Label:
    prediction_id = checked_id(sent.prediction_id, f"label {place}: prediction_id")
    if prediction_id is None or len(prediction_id) > 120:
        raise InvalidInput(f"label {place}: prediction_id must have 1 to 120 characters.")
    try:
        value = float(sent.label)
    except OverflowError:
        raise InvalidInput(f"label {place}: {shown(sent.label)} is too large; expected a number.") from None
    time = now() if sent.time is None else event_time(sent.time, f"label {place}: time")
    return Label(prediction_id=prediction_id, value=value, time=time)


# What stands around every route, outermost first. Each takes the callable below it and gives one back.


def measured(app: App, call: Handler) -> Handler:
    """Count and time every request, by names that clients cannot make up."""

    async def handle(request: Request) -> Response:
        started = time.perf_counter()
        response = await call(request)
        seconds = time.perf_counter() - started
        route = request.route
        known = ("other", "unknown") if route is None else (route.method, route.template)
        status = str(response.status)
        app.metrics.http.observe((*known, status), seconds)
        if request.protocol:
            plan = app.plane.plan
            model = "" if plan is None else plan.traffic.model
            app.metrics.inference.observe((model, request.version, request.protocol, status), seconds)
        return response

    return handle


def answering(_app: App, call: Handler) -> Handler:
    """Turn errors into the protocols' error shape."""

    async def handle(request: Request) -> Response:
        try:
            return await call(request)
        except Exception as error:  # a request must never end without an answer
            status = status_of(error)
            if not isinstance(error, EverloopError):
                _logger.error("%s %s failed", request.method, shown(request.path), exc_info=error)
            return Response(status, _encode({"error": told(error)}), headers=_headers_of(error, status))

    return handle


def routed(_app: App, call: Handler) -> Handler:
    """Find the route, or say which paths and methods there are."""

    async def handle(request: Request) -> Response:
        request.route, request.params = find_route(request.method, request.path)
        return await call(request)

    return handle


def guarded(_app: App, call: Handler) -> Handler:
    """Refuse what a body may not be, and pages of other sites that write through somebody's browser."""

    async def handle(request: Request) -> Response:
        if request.method == "POST":
            _check_content(request.headers)
            _check_origin(request.headers)
        return await call(request)

    return handle


def limited(app: App, call: Handler) -> Handler:
    """Read the body, but not more of it than may be, and not for ever."""

    async def handle(request: Request) -> Response:
        if request.method != "POST":
            return await call(request)
        try:
            request.body = await _read_body(app, request)
            return await call(request)
        finally:
            app.held -= request.held

    return handle


WRAPPERS: tuple[Callable[[App, Handler], Handler], ...] = (measured, answering, routed, guarded, limited)
"""Adding one is a line here and a function above."""


def _check_content(headers: Mapping[bytes, bytes]) -> None:
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"", b"identity"):
        raise UnsupportedContent(
            f"content-encoding {shown(encoding.decode('latin-1'))} is not supported; send the body as it is."
        )
    if b"inference-header-content-length" in headers:
        raise UnsupportedContent(
            "binary tensors are not supported; send the values as JSON (binary_data=False)."
        )


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    # A browser sends Origin with every POST; other clients do not. A foreign page may not write labels or predictions.
    origin = headers.get(b"origin")
    if origin is not None and origin.rpartition(b"//")[2] != headers.get(b"host"):
        raise Refused(f"a page of {shown(origin.decode('latin-1'))} may not send requests to this server.")


async def _read_body(app: App, request: Request) -> bytes:
    declared = request.headers.get(b"content-length", b"0")
    if not declared.isdigit() or len(declared) > 15 or int(declared) > MOST_BYTES:
        raise TooLarge(
            f"the body has {shown(declared.decode('latin-1'))} bytes; expected at most {MOST_BYTES}."
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _receive(app, request)
    except TimeoutError:
        raise TooSlow(f"the body did not arrive in {BODY_SECONDS:g} s.") from None


async def _receive(app: App, request: Request) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise TooSlow("the client left before its body was complete.")
        chunks.append(message.get("body", b""))
        request.held += len(chunks[-1])
        app.held += len(chunks[-1])
        if request.held > MOST_BYTES:
            raise TooLarge(f"the body has more than {MOST_BYTES} bytes, which is the most that is taken.")
        if app.held > MOST_HELD:
            raise Overloaded(
                "too many large requests are being read.", next_step="send it again in a second."
            )
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _headers_of(error: Exception, status: int) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, MethodNotAllowed):
        return ((b"allow", ", ".join(error.allow).encode()),)
    return ((b"retry-after", b"1"),) if status == 503 else ()


# Routes.


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, with `{names}` for its changing parts, and what answers there."""

    method: str
    template: str
    handle: Callable[[App, Request], Awaitable[Response]]


ROUTES = (
    Route("GET", "/", alive),
    Route("GET", "/livez", live),
    Route("GET", "/readyz", ready),
    Route("GET", "/metrics", show_metrics),
    Route("POST", "/labels", take_labels),
    Route("GET", "/v2", describe_server),
    Route("GET", "/v2/", describe_server),
    Route("GET", "/v2/health/live", live),
    Route("GET", "/v2/health/ready", ready),
    Route("GET", "/v2/models", list_models),
    Route("GET", "/v2/models/{model}", describe_model),
    Route("GET", "/v2/models/{model}/ready", model_ready),
    Route("POST", "/v2/models/{model}/infer", infer_v2),
    Route("GET", "/v2/models/{model}/versions/{version}", describe_model),
    Route("GET", "/v2/models/{model}/versions/{version}/ready", model_ready),
    Route("POST", "/v2/models/{model}/versions/{version}/infer", infer_v2),
    Route("GET", "/v1/models", list_models),
    Route("GET", "/v1/models/{model}", model_ready),
    Route("POST", "/v1/models/{model}:predict", predict_v1),
    Route("POST", "/v1/models/{model}/versions/{version}:predict", predict_v1),
)
_PATTERNS = tuple(
    (route, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/:]+)", route.template))) for route in ROUTES
)
_LITERAL = {(route.method, route.template): route for route in ROUTES if "{" not in route.template}
_TEMPLATES = {
    method: tuple(
        (route, pattern) for route, pattern in _PATTERNS if route.method == method and pattern.groups
    )
    for method in ("GET", "POST")
}


def find_route(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The route of a request and the changing parts of its path; HEAD is answered where GET is.

    >>> find_route("POST", "/v1/models/late:predict")[1]
    {'model': 'late'}
    """
    wanted = "GET" if method == "HEAD" else method
    literal = _LITERAL.get((wanted, path))
    if literal is not None:
        return literal, {}
    for route, pattern in _TEMPLATES.get(wanted, ()):
        if match := pattern.fullmatch(path):
            return route, match.groupdict()
    allow = tuple(route.method for route, pattern in _PATTERNS if pattern.fullmatch(path))
    if not allow:
        raise NotFound(
            f"there is nothing at {shown(path)}.", next_step="GET /v2/models lists what is served."
        )
    raise MethodNotAllowed(f"{shown(path)} takes {' or '.join(allow)}, not {shown(method)}.", allow=allow)
