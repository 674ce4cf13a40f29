"""What decides which node of one run is next, and writes down how it went: all that matters is in the database after each.

What must hold when it is killed at any place is shown by tests/pipelines/test_resume.py and tests/test_kill.py.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from everloop.errors import EverloopError
from everloop.metadata import steps
from everloop.pipelines.artifacts import Artifacts, collect_metrics
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds import KINDS, NodeKind, Result
from everloop.pipelines.nodes import Node
from everloop.pipelines.pipeline import Pipeline
from everloop.records.runs import Run, RunState, StepRun
from everloop.storage.codec import digest_of
from everloop.storage.workspace import Workspace

_logger = logging.getLogger(__name__)


class Progress(Protocol):
    """Hears of each step as it begins and ends; the terminal draws it."""

    def __call__(self, run: Run, step: StepRun, /) -> None:
        """A step has reached a new state."""


def silent(run: Run, step: StepRun, /) -> None:
    """Hears of each step and shows nothing."""


@dataclass(slots=True, kw_only=True)
class Scheduler:
    """Runs the nodes of a pinned run one by one."""

    workspace: Workspace
    pipeline: Pipeline
    run: Run
    progress: Progress
    inputs: Inputs = field(init=False)

    def __post_init__(self) -> None:
        settings = self.workspace.settings
        artifacts = Artifacts(blobs=self.workspace.blobs, trust=settings.trust, pipeline=self.pipeline.name)
        self.inputs = Inputs(workspace=self.workspace, artifacts=artifacts, run=self.run)

    def run_all(self) -> None:
        """Bring every node to its end."""
        nodes = self.pipeline.graph.nodes_for(register=self.run.register)
        for place, node in enumerate(nodes):
            self._run_node(place, node)
            self.inputs.release(nodes[place + 1 :])

    def _run_node(self, place: int, node: Node) -> None:
        kind = KINDS[type(node)]
        step = StepRun(
            run_id=self.run.id,
            step=node.name,
            position=place,
            state=RunState.RUNNING,
            cache_key=digest_of(kind.key(node, self.inputs)),
            started_at=self.workspace.now(),
            inputs=self.inputs.read_by(node),
        )
        known = self._find_known(step, is_cached=kind.is_cached(node, self.inputs))
        if known is None:
            self._run(step, node, kind)
        elif known.run_id == self.run.id:
            self._finish(known)  # done before a restart
        else:
            self._reuse(step, known)

    def _find_known(self, step: StepRun, *, is_cached: bool) -> StepRun | None:
        """The same step with the same key, finished: in this run before a restart, or in another run."""
        with self.workspace.database.read() as tx:
            mine = steps.find_step(tx, self.run.id, step.step)
            found = mine if mine is not None and _is_same(mine, step) else None
            if found is None and is_cached:
                found = steps.find_completed(tx, step.cache_key)
        is_intact = found is not None and all(map(self.inputs.artifacts.is_intact, found.outputs))
        return found if is_intact else None

    def _reuse(self, step: StepRun, known: StepRun) -> None:
        """Take the outputs of another run's step."""
        taken = replace(
            step,
            state=RunState.COMPLETE,
            ended_at=self.workspace.now(),
            seconds=0.0,
            outputs=known.outputs,
            metrics=known.metrics,
            cached_from=known.cached_from or known.run_id,
        )
        with self.workspace.database.write() as tx:
            steps.begin_step(tx, self.run, taken)
            steps.end_step(tx, self.workspace, self.run, taken)
        self._finish(taken)

    def _run(self, step: StepRun, node: Node, kind: NodeKind[Any]) -> None:
        with self.workspace.database.write() as tx:
            steps.begin_step(tx, self.run, step)
        self._report(step)
        started = time.perf_counter()
        try:
            result = kind.run(node, self.inputs)
            made = self._save(step, node, result)
            if result.refusal is not None:
                step = made  # what was found is kept with the refusal
                raise result.refusal
            ended = self._end(made, result, started)
        except (Exception, KeyboardInterrupt) as error:
            # Anything else ends this process and not the step, which stays open as after a kill.
            self._fail(step, error, started)
            raise
        # Outside the block: what is committed is true, whatever goes wrong in telling of it.
        self._finish(ended)

    def _save(self, step: StepRun, node: Node, result: Result) -> StepRun:
        hints = node.outputs
        saved = [
            self.inputs.artifacts.save(name, value, hints[name]) for name, value in result.outputs.items()
        ]
        self.inputs.made |= {(step.step, ref.name): value for ref, value in saved if value is not None}
        return replace(step, outputs=tuple(ref for ref, _ in saved), metrics=collect_metrics(result.outputs))

    def _end(self, step: StepRun, result: Result, started: float) -> StepRun:
        ended = replace(
            step,
            state=RunState.COMPLETE,
            ended_at=self.workspace.now(),
            seconds=time.perf_counter() - started,
        )
        with self.workspace.database.write() as tx:
            if result.write is not None:
                result.write(tx)
            steps.end_step(tx, self.workspace, self.run, ended)
        return ended

    def _fail(self, step: StepRun, error: BaseException, started: float) -> None:
        failed = replace(
            step,
            state=RunState.ABORT if isinstance(error, KeyboardInterrupt) else RunState.FAIL,
            error=describe_error(error),
            ended_at=self.workspace.now(),
            seconds=time.perf_counter() - started,
        )
        with self.workspace.database.write() as tx:
            steps.end_step(tx, self.workspace, self.run, failed)
        self._report(failed)

    def _finish(self, step: StepRun) -> None:
        self.inputs.add(step)
        self._report(step)

    def _report(self, step: StepRun) -> None:
        try:
            self.progress(self.run, step)
        except Exception as error:  # a closed terminal must not end a run that nobody has to watch
            _logger.warning("progress of run %s cannot be shown", self.run.id, exc_info=error)


def describe_error(error: BaseException) -> str:
    """What goes on the record of what failed."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by hand"
    return str(error) if isinstance(error, EverloopError) else f"{type(error).__name__}: {error}"


def _is_same(row: StepRun, step: StepRun) -> bool:
    return row.state is RunState.COMPLETE and row.cache_key == step.cache_key
