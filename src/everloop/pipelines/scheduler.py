"""One worker's way through the graph of one run; everything that matters is in the database after each step."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from everloop.errors import EverloopError, InvalidInput, Refused
from everloop.metadata import steps
from everloop.pipelines.artifacts import Artifacts, metrics_of, take_apart
from everloop.pipelines.graph import Node
from everloop.pipelines.hints import output_fields
from everloop.pipelines.identity import function_id
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.pipeline import Pipeline
from everloop.pipelines.registering import register_model
from everloop.records.runs import ArtifactRef, Run, RunState, StepRun
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
    """Takes the steps of a pinned run one by one."""

    workspace: Workspace
    pipeline: Pipeline
    run: Run
    progress: Progress
    inputs: Inputs = field(init=False)
    done: list[StepRun] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.workspace.settings
        artifacts = Artifacts(blobs=self.workspace.blobs, trust=settings.trust, pipeline=self.pipeline.name)
        self.inputs = Inputs(workspace=self.workspace, artifacts=artifacts, run=self.run)

    def run_all(self) -> None:
        """Bring every step to its end."""
        nodes = self.pipeline.graph.nodes
        for place, node in enumerate(nodes):
            self._run_node(place, node)
            self.inputs.release(nodes[place + 1 :])

    def _run_node(self, place: int, node: Node) -> None:
        step = StepRun(
            run_id=self.run.id,
            step=node.name,
            position=place,
            state=RunState.RUNNING,
            cache_key=self.inputs.key(node),
            started_at=self.workspace.now(),
            inputs=self.inputs.read_by(node),
        )
        known = self._find_known(step, node)
        if known is None:
            self._run(step, node)
        elif known.run_id == self.run.id:
            self._finish(known)  # finished before a restart
        else:
            self._reuse(step, known)

    def _find_known(self, step: StepRun, node: Node) -> StepRun | None:
        """The same step with the same key, finished: in this run before a restart, or in another run."""
        with self.workspace.database.read() as tx:
            mine = steps.find_step(tx, self.run.id, step.step)
            found = mine if mine is not None and _is_same(mine, step) else None
            if found is None and self._is_cached(node):
                found = steps.find_completed(tx, step.cache_key)
        return (
            found if found is not None and all(map(self.inputs.artifacts.is_intact, found.outputs)) else None
        )

    def _is_cached(self, node: Node) -> bool:
        return node.step.cache and function_id(node.step.function, self.workspace.settings.root) is not None

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

    def _run(self, step: StepRun, node: Node) -> None:
        with self.workspace.database.write() as tx:
            steps.begin_step(tx, self.run, step)
        self._report(step)
        started = time.perf_counter()
        try:
            ended = self._register(step, node, started) if node.registers else self._call(step, node, started)
        except BaseException as error:
            self._fail(step, error, started)
            raise
        # Outside the block: what is committed is true, whatever goes wrong in telling of it.
        self._finish(ended)

    def _call(self, step: StepRun, node: Node, started: float) -> StepRun:
        outputs = take_apart(self._tried(node), node.returns)
        hints = output_fields(node.returns)
        saved = [self.inputs.artifacts.save(name, value, hints[name]) for name, value in outputs.items()]
        self.inputs.tables |= {(step.step, ref.name): table for ref, table in saved if table is not None}
        refs = tuple(ref for ref, _ in saved)
        ended = self._ended(step, started, outputs=refs, metrics=metrics_of(outputs))
        with self.workspace.database.write() as tx:
            steps.end_step(tx, self.workspace, self.run, ended)
        return ended

    def _tried(self, node: Node) -> object:
        for left in range(node.step.retries, -1, -1):
            try:
                return node.step.function(**self.inputs.arguments(node))
            except (Refused, InvalidInput):
                raise  # an answer; asking again gives the same one
            except SystemExit as error:
                # It would end the worker with the run still open, and the next worker likewise.
                raise EverloopError(f"the step asked its process to exit with {error.code!r}.") from error
            except Exception as error:
                if left == 0:
                    raise
                _logger.warning("step %s of run %s is tried again", node.name, self.run.id, exc_info=error)
        raise AssertionError("the last try has returned or raised")

    def _register(self, step: StepRun, node: Node, started: float) -> StepRun:
        """Version, alias and step end in one transaction: killed before it, nothing; after it, all."""
        given = self.inputs.arguments(node)
        metrics = {name: value for done in self.done for name, value in done.metrics.items()}
        ended = self._ended(step, started)
        with self.workspace.database.write() as tx:
            register_model(tx, self.workspace, self.run, node, given, artifacts=step.inputs, metrics=metrics)
            steps.end_step(tx, self.workspace, self.run, ended)
        return ended

    def _ended(
        self,
        step: StepRun,
        started: float,
        *,
        outputs: tuple[ArtifactRef, ...] = (),
        metrics: Mapping[str, float] | None = None,
    ) -> StepRun:
        return replace(
            step,
            state=RunState.COMPLETE,
            ended_at=self.workspace.now(),
            seconds=time.perf_counter() - started,
            outputs=outputs,
            metrics=metrics or {},
        )

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
        self.done.append(step)
        self.inputs.refs |= {(step.step, ref.name): ref for ref in step.outputs}
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
