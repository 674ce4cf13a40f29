"""What does the steps of runs for the writer: it takes orders and gives results, and knows nothing of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Protocol, TypeAlias

from everloop.pipelines.orders import StepOrder, StepResult

Here: TypeAlias = Callable[[StepOrder], StepResult]
"""Does an order in the interpreter of the worker itself, with what the run has at hand there."""


class Executor(Protocol):
    """Whatever happens to a step, also the death of what does it, becomes its result; tests/pipelines/test_executors.py."""

    @property
    def places(self) -> int:
        """How many orders it takes at once."""

    def submit(self, order: StepOrder) -> Future[StepResult]:
        """Have it done."""

    def cancel(self, futures: Collection[Future[StepResult]]) -> None:
        """Cut these orders short; when it returns nothing works on them any more, and nobody may ask for their results."""

    def close(self) -> None:
        """Cut everything short and let go of it."""
