"""Steps one after the other in the worker itself: debuggers, Ctrl-C and notebooks see them as functions that are called."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future

from everloop.pipelines.executors.executor import Here
from everloop.pipelines.orders import StepOrder, StepResult


class InProcess:
    """An order is done when it has been taken, so there is never one to be cut short."""

    places = 1

    def __init__(self, here: Here) -> None:
        self._here = here

    def submit(self, order: StepOrder) -> Future[StepResult]:
        """Do it now."""
        future: Future[StepResult] = Future()
        future.set_result(self._here(order))
        return future

    def cancel(self, futures: Collection[Future[StepResult]]) -> None:
        """There is nothing to do."""

    def close(self) -> None:
        """There is nothing to do."""
