"""Takes the nodes of one run to their end: nobody else looks up earlier results, and nobody else writes how a node went.

What must hold when it is killed at any place is shown by tests/pipelines/test_resume.py and tests/test_kill.py; that what
it writes does not depend on the order in which results come, by tests/pipelines/test_executors.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sqlalchemy import Connection

from everloop.metadata import steps
from everloop.pipelines.executors.executor import Executor
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds import KINDS, NodeKind
from everloop.pipelines.nodes import Node
from everloop.pipelines.orders import StepOrder, StepResult
from everloop.pipelines.perform import describe_error, perform
from everloop.pipelines.scheduler import ready
from everloop.records.runs import Run, RunState, StepRun
from everloop.storage.codec import digest_of

_logger = logging.getLogger(__name__)
_LOOK = 1.0
"""Seconds after which whoever waits for a step looks up."""


class Progress(Protocol):
    """Hears of each step as it begins and ends; the terminal draws it."""

    def __call__(self, run: Run, step: StepRun, /) -> None:
        """A step has reached a new state."""


def silent(run: Run, step: StepRun, /) -> None:
    """Hears of each step and shows nothing."""


@dataclass(slots=True, kw_only=True)
class _Begun:
    """A node that has begun and not ended; an executor may be at it."""

    step: StepRun
    started: float
    future: Future[StepResult] | None = None


@dataclass(slots=True, kw_only=True)
class Writer:
    """Runs the nodes of a pinned run; results come in any order, and what becomes of the run does not depend on it."""

    inputs: Inputs
    nodes: tuple[Node, ...]
    """Those that are to be done, in the graph's order; once one has failed, only those before it."""
    executor: Executor
    progress: Progress
    positions: dict[str, int] = field(init=False)
    done: set[str] = field(default_factory=set)
    begun: dict[str, _Begun] = field(default_factory=dict)
    error: str | None = None
    """Why the first node in the graph's order that fails did."""

    def __post_init__(self) -> None:
        self.positions = {node.name: place for place, node in enumerate(self.nodes)}

    def run_all(self) -> str | None:
        """Bring every node to its end; returns what went wrong, None if nothing did."""
        try:
            while (node := self._next()) is not None or self.begun:
                if node is not None:
                    self._begin(node)
                else:
                    self._wait()
                self._collect()
        except BaseException as error:
            self._break_off(error)
            raise
        return self.error

    def _wait(self) -> None:
        # A signal that comes just before a wait begins is not heard before it ends: so Ctrl-C would have to come twice.
        futures = self._futures(self.begun.values())
        while not wait(futures, timeout=_LOOK, return_when=FIRST_COMPLETED).done:
            pass

    def _next(self) -> Node | None:
        is_full = len(self.begun) >= self.executor.places
        for node in ready(self.nodes, self.done):
            if node.name not in self.begun and not (is_full and KINDS[type(node)].by_order):
                return node
        return None

    def _begin(self, node: Node) -> None:
        kind = KINDS[type(node)]
        step = self._step(node, kind)
        known = self._find_known(step, is_cached=kind.is_cached(node, self.inputs))
        if known is None:
            self._do(node, kind, step)
        elif known.run_id == self.inputs.run.id:
            self._finish(known)  # done before a restart
        else:
            self._reuse(step, known)

    def _step(self, node: Node, kind: NodeKind[Any]) -> StepRun:
        return StepRun(
            run_id=self.inputs.run.id,
            step=node.name,
            position=self.positions[node.name],
            state=RunState.RUNNING,
            cache_key=digest_of(kind.key(node, self.inputs)),
            started_at=self.inputs.workspace.now(),
            inputs=self.inputs.read_by(node),
        )

    def _find_known(self, step: StepRun, *, is_cached: bool) -> StepRun | None:
        """The same step with the same key, finished: in this run before a restart, or in another run."""
        with self.inputs.workspace.database.read() as tx:
            mine = steps.find_step(tx, step.run_id, step.step)
            found = mine if mine is not None and _is_same(mine, step) else None
            if found is None and is_cached:
                found = steps.find_completed(tx, step.cache_key, besides=step.run_id)
        is_intact = found is not None and all(map(self.inputs.artifacts.is_intact, found.outputs))
        return found if is_intact else None

    def _reuse(self, step: StepRun, known: StepRun) -> None:
        """Take the outputs of another run's step."""
        taken = replace(
            step,
            state=RunState.COMPLETE,
            ended_at=self.inputs.workspace.now(),
            seconds=0.0,
            outputs=known.outputs,
            metrics=known.metrics,
            cached_from=known.cached_from or known.run_id,
        )
        with self.inputs.workspace.database.write() as tx:
            steps.begin_step(tx, self.inputs.run, taken)
            steps.end_step(tx, self.inputs.workspace, self.inputs.run, taken)
        self._finish(taken)

    def _do(self, node: Node, kind: NodeKind[Any], step: StepRun) -> None:
        with self.inputs.workspace.database.write() as tx:
            steps.begin_step(tx, self.inputs.run, step)
        begun = self.begun[node.name] = _Begun(step=step, started=time.perf_counter())
        self._report(step)
        if kind.by_order:
            begun.future = self.executor.submit(self._order(step))
        else:
            self._end(begun, *perform(node, self.inputs))

    def _order(self, step: StepRun) -> StepOrder:
        return StepOrder(
            root=str(self.inputs.workspace.settings.root),
            run=self.inputs.run,
            node=step.step,
            inputs=step.inputs,
            cache_key=step.cache_key,
        )

    def _collect(self) -> None:
        """Write down all results that are there, in the graph's order."""
        for begun in sorted(self.begun.values(), key=lambda begun: begun.step.position):
            # A failure before it in the graph may have cut it short in this very loop.
            if begun.step.step in self.begun and begun.future is not None and begun.future.done():
                self._end(begun, _result(begun.future))

    def _end(
        self, begun: _Begun, result: StepResult, write: Callable[[Connection], object] | None = None
    ) -> None:
        made = replace(begun.step, outputs=result.outputs, metrics=result.metrics)
        error = result.error or self._complete(begun, made, write)
        if error is not None:
            self._fail(begun, made, error)

    def _complete(
        self, begun: _Begun, made: StepRun, write: Callable[[Connection], object] | None
    ) -> str | None:
        """Write that it is done and whatever goes with it, at once or not at all; returns why it was not."""
        ended = self._ended(begun, made, RunState.COMPLETE)
        try:
            with self.inputs.workspace.database.write() as tx:
                if write is not None:
                    write(tx)
                steps.end_step(tx, self.inputs.workspace, self.inputs.run, ended)
        except Exception as error:  # noqa: BLE001 - said below, on the node's record
            return describe_error(error)
        # What is committed is true, whatever goes wrong in telling of it.
        del self.begun[made.step]
        self._finish(ended)
        return None

    def _fail(self, begun: _Begun, made: StepRun, error: str) -> None:
        """One node has failed: those before it in the graph are still done, because one of them may fail, too.

        What is after it would not have begun if steps were done one by one, so it is cut short.
        """
        self._write_end(begun, made, RunState.FAIL, error)
        self.error, self.nodes = error, self.nodes[: made.position]
        later = [other for other in self.begun.values() if other.step.position > made.position]
        self.executor.cancel(self._futures(later))
        for other in later:
            self._write_end(other, other.step, RunState.ABORT, f"cut short, because step {made.step} failed")

    def _break_off(self, error: BaseException) -> None:
        self.executor.cancel(self._futures(self.begun.values()))
        if not isinstance(error, Exception | KeyboardInterrupt):
            return  # it ends this process and not the steps, which stay open as after a kill
        for begun in list(self.begun.values()):
            self._write_end(begun, begun.step, RunState.ABORT, describe_error(error))

    def _write_end(self, begun: _Begun, made: StepRun, state: RunState, error: str) -> None:
        ended = replace(self._ended(begun, made, state), error=error)
        with self.inputs.workspace.database.write() as tx:
            steps.end_step(tx, self.inputs.workspace, self.inputs.run, ended)
        del self.begun[made.step]
        self._report(ended)

    def _ended(self, begun: _Begun, made: StepRun, state: RunState) -> StepRun:
        seconds = time.perf_counter() - begun.started
        return replace(made, state=state, ended_at=self.inputs.workspace.now(), seconds=seconds)

    def _finish(self, step: StepRun) -> None:
        self.done.add(step.step)
        self.inputs.add(step)
        self.inputs.release([node for node in self.nodes if node.name not in self.done])
        self._report(step)

    def _report(self, step: StepRun) -> None:
        try:
            self.progress(self.inputs.run, step)
        except Exception as error:  # a closed terminal must not end a run that nobody has to watch
            _logger.warning("progress of run %s cannot be shown", self.inputs.run.id, exc_info=error)

    @staticmethod
    def _futures(begun: Iterable[_Begun]) -> list[Future[StepResult]]:
        return [each.future for each in begun if each.future is not None]


def _result(future: Future[StepResult]) -> StepResult:
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - the executor could not even try: no memory for a process, say
        return StepResult(error=describe_error(error))


def _is_same(row: StepRun, step: StepRun) -> bool:
    return row.state is RunState.COMPLETE and row.cache_key == step.cache_key
