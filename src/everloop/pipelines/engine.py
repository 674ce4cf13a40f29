"""Take a claimed run to its end: pin what it reads, have its graph walked, and write how it went."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from everloop.errors import ProjectError
from everloop.metadata import provenance, runs, steps
from everloop.pipelines.executors import Executor, executor_named
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.orders import StepOrder, StepResult
from everloop.pipelines.perform import describe_error, perform
from everloop.pipelines.pinning import dataset_pins, model_pins
from everloop.pipelines.pipeline import Pipeline
from everloop.pipelines.writer import Progress, Writer, silent
from everloop.records.runs import CodeVersion, Run, RunState
from everloop.storage.workspace import Workspace

__all__ = ["Engine", "Progress", "end", "silent"]


@dataclass(slots=True, kw_only=True)
class Engine:
    """Takes runs to their end one by one, with one executor for all of them."""

    workspace: Workspace
    progress: Progress
    _executor: Executor = field(init=False)
    _writer: Writer | None = None
    """Of the run that it has in its hands."""

    def __post_init__(self) -> None:
        self._executor = executor_named(self.workspace.settings.worker.executor, self._here)

    def execute(self, pipeline: Pipeline, run: Run, *, code: CodeVersion) -> Run:
        """Take a claimed run to its end; what goes wrong in a step ends the run and is written on it.

        `code` is the version of the project that this process has loaded. Ctrl-C ends the run as ABORT; a killed process
        leaves it RUNNING, for the next worker to go on from the last finished step.
        """
        started = time.perf_counter()
        try:
            run = _pin(self.workspace, pipeline, run, code)
            error = self._walk(pipeline, run)
        except KeyboardInterrupt as interrupt:
            seconds = time.perf_counter() - started
            end(self.workspace, run, RunState.ABORT, seconds=seconds, error=describe_error(interrupt))
            raise
        except Exception as unforeseen:  # noqa: BLE001 - whatever it is belongs on the run's record
            error = describe_error(unforeseen)
        state = RunState.COMPLETE if error is None else RunState.FAIL
        return end(self.workspace, run, state, seconds=time.perf_counter() - started, error=error)

    def close(self) -> None:
        """Let go of the executor."""
        self._executor.close()

    def _walk(self, pipeline: Pipeline, run: Run) -> str | None:
        self._writer = Writer(
            inputs=Inputs(workspace=self.workspace, run=run),
            nodes=pipeline.graph.nodes_for(register=run.register),
            executor=self._executor,
            progress=self.progress,
        )
        try:
            return self._writer.run_all()
        finally:
            self._writer = None

    def _here(self, order: StepOrder) -> StepResult:
        """Do an order in this interpreter, with what the writer has in its memory."""
        assert self._writer is not None, "orders come from its writer"
        node = next(node for node in self._writer.nodes if node.name == order.node)
        return perform(node, self._writer.inputs)[0]


def end(workspace: Workspace, run: Run, state: RunState, *, seconds: float, error: str | None = None) -> Run:
    """Write how a run ended; a step that a dead worker left open ends with it."""
    with workspace.database.write() as tx:
        for step in steps.list_steps(tx, run.id):
            if step.state is RunState.RUNNING:
                lost = replace(step, state=RunState.ABORT, ended_at=workspace.now(), error="its worker died")
                steps.end_step(tx, workspace, run, lost)
        return runs.end_run(tx, workspace, run, state, seconds=seconds, error=error)


def _pin(workspace: Workspace, pipeline: Pipeline, run: Run, code: CodeVersion) -> Run:
    if run.code is not None:
        return _go_on(run, run.code, code)
    _check_params(pipeline, run)
    with workspace.database.write() as tx:
        return runs.pin_run(
            tx,
            run,
            code=code,
            env=provenance.environment(),
            datasets=dataset_pins(tx, pipeline, run.data),
            models=model_pins(tx, pipeline),
        )


def _check_params(pipeline: Pipeline, run: Run) -> None:
    if set(pipeline.params) != set(run.params):
        raise ProjectError(
            f"this run was asked for with params {', '.join(run.params) or '(none)'}, "
            f"and the pipeline has {', '.join(pipeline.params) or '(none)'} now.",
            next_step=f"everloop run {run.pipeline}",
        )


def _go_on(run: Run, then: CodeVersion, now: CodeVersion) -> Run:
    """A run is one thing from one code: steps of two versions of it would be mixed under one record."""
    anew = f"everloop run {run.pipeline}"
    if now.digest != then.digest:
        raise ProjectError(
            "the project's code has changed since this run began, so it cannot be resumed.", next_step=anew
        )
    if run.environment is None or run.environment.digest != provenance.environment().digest:
        raise ProjectError(
            "Python, the machine or an installed library has changed since this run began, so it cannot be resumed.",
            next_step=anew,
        )
    return run
