"""The server of some endpoints: listen, follow what the controller wants, stop without losing an answer or a log row.

It reaches into private parts of uvicorn, which a new release may move. The order of the end and the exit code
(`_Uvicorn`) are shown by `tests/serving/test_process.py`: without them answers are lost, or a stop that was asked for
counts as a failure. What a connection may keep, and how long (`_Connection`), is shown by the tests of a head without
end and of a client that never finishes, in `tests/serving/test_server.py`: without them memory and connections go.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from everloop.errors import Conflict, InvalidInput
from everloop.models.model import Model
from everloop.models.saving import load_model
from everloop.monitoring.inference_log import InferenceLog
from everloop.monitoring.labels import LabelReceipt, record_labels
from everloop.records.serving import Label
from everloop.registry.versions import get_version
from everloop.rollout.endpoints import register_server
from everloop.serving.app import App
from everloop.serving.dataplane import DataPlane
from everloop.serving.follower import Follower
from everloop.serving.metrics import ServerMetrics
from everloop.serving.planes import Planes
from everloop.serving.service import Service
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace

_DRAIN_SECONDS = (
    1.0  # for clients that are between two requests; without open connections the exit does not wait
)
_KEEP_ALIVE_SECONDS = 75  # longer than the usual proxy's, so that the proxy is the one that closes
_GRACEFUL_SECONDS = 10  # after so long a client that does not read its answer no longer holds up the exit
_MOST_HEAD = 64 * 1024


def serve(
    workspace: Workspace,
    endpoints: tuple[str, ...],
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Answer requests for these endpoints until SIGTERM or SIGINT, then finish what was begun and return.

    Port 0 takes a free one; `on_ready` is called with the address when connections are taken and what each endpoint
    needs was loaded, or could not be. An endpoint that has no champion yet is served too: the server is live, not
    ready, and says what to do.
    Raises Conflict when the port is taken, NotReady when predictions could not be written at the end.
    """
    PredictionServer(workspace, endpoints, host, port).run(on_ready=on_ready)


@contextmanager
def serving(
    workspace: Workspace,
    endpoints: tuple[str, ...],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    request_seconds: float = 30.0,
) -> Iterator["PredictionServer"]:
    """The same in a thread of this process, for the length of a block."""
    server = PredictionServer(workspace, endpoints, host, port, request_seconds=request_seconds)
    up = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            server.run(on_ready=lambda _url: up.set())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for this one
            failed.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=run, name="prediction-server")
    thread.start()
    try:
        up.wait()
        if not failed:
            yield server
    finally:
        server.stop()
        thread.join()
    if failed:
        raise failed[0]


class PredictionServer:
    """The server of some endpoints in one process; it holds its port from the moment it is made.

    A request that has not arrived in full after `request_seconds` loses its connection.
    """

    def __init__(
        self,
        workspace: Workspace,
        endpoints: tuple[str, ...],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        request_seconds: float = 30.0,
    ) -> None:
        self._socket = _listen(host, port)
        bound = self._socket.getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        self.url = f"http://{shown}:{bound[1]}"
        """Where it listens."""
        self.id = workspace.new_id()
        """The name that it holds as long as it lives, and reports under."""
        self.metrics = ServerMetrics()
        self._workspace, self._endpoints, self._request_seconds = workspace, endpoints, request_seconds
        self._uvicorn: _Uvicorn | None = None
        self._stopped = False

    def run(self, *, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve until `stop`, or until SIGTERM or SIGINT when this is the main thread."""
        log = InferenceLog(self._workspace.database)
        try:
            planes = Planes([self._plane(endpoint, log) for endpoint in self._endpoints])
            service = Service(
                planes, record=self._recorder(log), metrics=self.metrics, now=self._workspace.now
            )
            self._show(log, planes)
            with self._present():
                self._serve(service, on_ready)
        finally:
            self._socket.close()
            log.close()

    def stop(self) -> None:
        """Ask it to finish what was begun and to return; may be called from any thread."""
        self._stopped = True
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True

    @contextmanager
    def _present(self) -> Iterator[None]:
        """Be known as alive for the length of a block, by a name and a row for each endpoint."""
        workspace = self._workspace
        presence = Presence(workspace.database, workspace.folder)
        presence.enter(self.id)
        try:
            with workspace.database.write() as tx:
                register_server(tx, self.id, self._endpoints, alive=presence.present, now=workspace.now())
            yield
        finally:
            presence.close()

    def _serve(self, service: Service, on_ready: Callable[[str], None] | None) -> None:
        config = uvicorn.Config(
            App(service),
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        )
        follower = Follower(self._workspace, service.planes, self.id)
        self._uvicorn = _Uvicorn(
            config,
            service,
            follower,
            on_ready=lambda: on_ready(self.url) if on_ready else None,
            request_seconds=self._request_seconds,
        )
        self._uvicorn.should_exit = self._stopped
        try:
            with follower.following():
                self._uvicorn.run(sockets=[self._socket])
        finally:
            service.close()

    def _plane(self, endpoint: str, log: InferenceLog) -> DataPlane:
        workspace = self._workspace

        def load(model: str, version: int) -> Model:
            with workspace.database.read() as tx:
                kept = get_version(tx, model, version)
            return load_model(workspace.blobs, kept.digest, trust=workspace.settings.trust)

        return DataPlane(endpoint, load=load, log=log, now=workspace.now, new_id=workspace.new_id)

    def _recorder(self, log: InferenceLog) -> Callable[[Sequence[Label]], LabelReceipt]:
        workspace = self._workspace

        def record(labels: Sequence[Label]) -> LabelReceipt:
            log.flush(timeout=10.0)  # a label must not be in the database before the prediction that it names
            with workspace.database.write() as tx:
                return record_labels(tx, labels, workspace.now())

        return record

    def _show(self, log: InferenceLog, planes: Planes) -> None:
        metrics = self.metrics
        metrics.counter(
            "everloop_inference_log_dropped",
            "Predictions that will never be in the inference log.",
            lambda: log.dropped,
        )
        metrics.gauge(
            "everloop_inference_log_pending",
            "Predictions that are not durable yet.",
            lambda: {(): float(log.pending)},
        )
        metrics.gauge(
            "everloop_endpoint_generation",
            "Generation of the traffic in effect.",
            lambda: {(plane.endpoint,): float(plane.generation) for plane in planes},
            labels=("endpoint",),
        )


class _Uvicorn(uvicorn.Server):
    """Uvicorn with an end that loses nothing, and that counts as success when it was asked for."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        follower: Follower,
        *,
        on_ready: Callable[[], None],
        request_seconds: float,
    ) -> None:
        super().__init__(config)
        self._service, self._follower = service, follower
        self._on_ready, self._request_seconds = on_ready, request_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Requests are answered from here on: those of a small model do not wait for a large one.
        while not (self.should_exit or self._follower.at_rest):
            await asyncio.sleep(0.01)
        if not self.should_exit:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # it ticks ten times a second
            oldest = asyncio.get_running_loop().time() - self._request_seconds
            for connection in list(self.server_state.connections):
                assert isinstance(connection, _Connection)
                connection.close_if_slow(oldest)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Nobody new, then every further answer announces the end of its connection, and only then are the idle
        # ones closed: a client whose next request is already on its way gets its answer.
        for server in self.servers:
            server.close()
        self._service.planes.stopping = True
        loop = asyncio.get_running_loop()
        patience = loop.time() + _DRAIN_SECONDS
        while self.server_state.connections and loop.time() < patience:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            # Uvicorn would raise them again, and the process would end as if it had been killed.
            self._captured_signals.clear()


class _Connection(HttpToolsProtocol):
    """Uvicorn's connection, bounded in what the parser keeps before it hands anything over, and in time.

    Bodies are bounded by the application; an address, a header or a trailer without end never gets there. The time
    is looked at once a second by the server, because a timer for each request costs as much as its decoding.
    """

    _kept = 0
    _since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()

    def on_message_complete(self) -> None:
        self._since = None
        super().on_message_complete()

    def close_if_slow(self, oldest: float) -> None:
        """End the connection if its request began to arrive before `oldest` and is not complete."""
        if self._since is not None and self._since < oldest:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._kept += len(data)
        super().data_received(data)
        if self._kept > _MOST_HEAD and not self.transport.is_closing():
            self.send_400_response("Request head is too large.")

    def on_message_begin(self) -> None:
        self._kept = 0
        self._since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._kept = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._kept = 0
        super().on_body(body)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError, OverflowError) as error:
        raise InvalidInput(
            f"{host}:{port} is no address to listen at: {error}.",
            next_step="give an address of this machine, like 127.0.0.1.",
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise Conflict(
            f"cannot listen at {host}:{port}: {error}.",
            next_step="stop the program that does, or choose another port (0 takes a free one).",
        ) from None
    return listener
