"""What the routes work with: a request, a response, and the one service that all requests share."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from everloop.clock import Clock
from everloop.monitoring.labels import LabelReceipt
from everloop.records.serving import Label
from everloop.serving.dialects import DIALECTS
from everloop.serving.dialects.dialect import Dialect
from everloop.serving.errors import Overloaded
from everloop.serving.infer import InferContext, compose_infer
from everloop.serving.metrics import ServerMetrics
from everloop.serving.planes import Planes

T = TypeVar("T")
JSON = b"application/json"


class Response(NamedTuple):
    """What goes out."""

    status: int
    body: bytes
    content_type: bytes = JSON
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
        "receive",
        "route",
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


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, with `{names}` for its changing parts, and what answers there."""

    method: str
    template: str
    handle: Callable[["Service", Request], Awaitable[Response]]
    dialect: Dialect | None = None
    """Whose path it is; errors are told in its shape."""


class BackgroundThread:
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


class Service:
    """The service behind all routes: what is served, where labels go, and what is known about the load.

    `record` keeps labels and says what became of them; it is called in a thread.
    """

    def __init__(
        self,
        planes: Planes,
        *,
        record: Callable[[Sequence[Label]], LabelReceipt],
        metrics: ServerMetrics,
        now: Clock,
        dialects: Sequence[Dialect] = DIALECTS,
    ) -> None:
        self.planes, self.record, self.metrics, self.now = planes, record, metrics, now
        self.dialects = dialects
        self.infer = compose_infer(InferContext(planes, metrics))
        self.held = 0
        """Bytes of all bodies that are in the house."""
        self.background = BackgroundThread("large-requests", most=64)
        self.labelling = BackgroundThread("labels", most=64)

    def close(self) -> None:
        """Let the threads end."""
        self.background.close()
        self.labelling.close()
