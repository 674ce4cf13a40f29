"""How a server follows what the controller wants: one look at all of its endpoints, and each one's loading apart."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from everloop.records.serving import ServerReport, Traffic
from everloop.rollout.endpoints import list_endpoints, reported_generations, save_report
from everloop.serving.dataplane import DataPlane
from everloop.serving.planes import Planes
from everloop.storage.workspace import Workspace

_logger = logging.getLogger(__name__)
POLL_SECONDS = 0.1
_LONGEST_PAUSE = 5.0


@dataclass(slots=True)
class _Followed:
    """Where the following of one endpoint stands."""

    plane: DataPlane
    work: Future[None] | None = None
    pause: float = POLL_SECONDS
    again_at: float = 0.0

    @property
    def busy(self) -> bool:
        return self.work is not None and not self.work.done()


class Follower:
    """Brings the data planes to what their endpoints' rows say, and reports which generations are in effect here.

    It compares and acts, so a look that was missed costs nothing; a revision that cannot be loaded leaves the old
    ones in place, is reported, and is tried again ever more slowly. One thread looks, at one cost for one endpoint and
    for many; what is to be done for an endpoint is done in another, so that none waits for what another one loads.
    """

    def __init__(self, workspace: Workspace, planes: Planes, server: str) -> None:
        self._workspace, self._planes, self._server = workspace, planes, server
        self._followed = [_Followed(plane) for plane in planes]
        self._looked = threading.Event()
        self._stop = threading.Event()

    @property
    def at_rest(self) -> bool:
        """It has looked, and nothing is being loaded now."""
        return self._looked.is_set() and not any(followed.busy for followed in self._followed)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Look now, and every 100 ms for the length of the block."""
        with ThreadPoolExecutor(len(self._followed), thread_name_prefix="loading") as threads:
            looking = threading.Thread(target=self._run, args=(threads,), name="follower")
            looking.start()
            try:
                yield
            finally:
                self._stop.set()
                looking.join()

    def _run(self, threads: ThreadPoolExecutor) -> None:
        pause = POLL_SECONDS
        while True:
            try:
                self._look(threads)
                pause = POLL_SECONDS
            except Exception as error:  # noqa: BLE001 - a server that answers must not die of its database
                pause = min(pause * 2, _LONGEST_PAUSE)
                _logger.error("the endpoints cannot be followed, again in %.1f s: %s", pause, error)
            self._looked.set()
            if self._stop.wait(pause):
                return

    def _look(self, threads: ThreadPoolExecutor) -> None:
        """One comparison of all; begins what is to be done and does not wait for it."""
        with self._workspace.database.read() as tx:
            wanted = {traffic.endpoint: traffic for traffic in list_endpoints(tx)}
            reported = reported_generations(tx, self._server)
        for followed in self._followed:
            plane = followed.plane
            traffic = wanted.get(plane.endpoint)
            behind = traffic is not None and traffic.generation != plane.generation
            untold = reported.get(plane.endpoint) != plane.generation
            if (behind or untold) and not followed.busy and time.monotonic() >= followed.again_at:
                followed.work = threads.submit(self._follow, followed, traffic)

    def _follow(self, followed: _Followed, traffic: Traffic | None) -> None:
        """Do what a look has found, or say why not and for how long to leave it."""
        plane = followed.plane
        try:
            if traffic is not None and traffic.generation != plane.generation:
                self._planes.apply(traffic)
            self._report(plane)
            followed.pause = POLL_SECONDS
        except Exception as error:  # noqa: BLE001 - a server that answers must not die of what it cannot load
            followed.pause = min(followed.pause * 2, _LONGEST_PAUSE)
            followed.again_at = time.monotonic() + followed.pause
            _logger.error(
                "endpoint %s cannot follow, again in %.1f s: %s", plane.endpoint, followed.pause, error
            )

    def _report(self, plane: DataPlane) -> None:
        report = ServerReport(
            server=self._server,
            endpoint=plane.endpoint,
            generation=plane.generation,
            reported_at=self._workspace.now(),
        )
        with self._workspace.database.write() as tx:
            save_report(tx, report)
