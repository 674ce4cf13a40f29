"""Take a claimed run to its end: pin what it reads, walk its graph, and write how it went."""

from __future__ import annotations

import time
from dataclasses import replace

from everloop.errors import ProjectError
from everloop.metadata import provenance, runs, steps
from everloop.pipelines.pinning import dataset_pins, model_pins
from everloop.pipelines.pipeline import Pipeline
from everloop.pipelines.scheduler import Progress, Scheduler, describe_error, silent
from everloop.records.runs import CodeVersion, Run, RunState
from everloop.storage.workspace import Workspace

__all__ = ["Progress", "end", "execute", "silent"]


def execute(
    workspace: Workspace, pipeline: Pipeline, run: Run, *, code: CodeVersion, progress: Progress
) -> Run:
    """Take a claimed run to its end; what goes wrong in a step ends the run and is written on it.

    `code` is the version of the project that this process has loaded. Ctrl-C ends the run as ABORT; a killed process leaves
    it RUNNING, for the next worker to go on from the last finished step.
    """
    started = time.perf_counter()
    try:
        run = _pin(workspace, pipeline, run, code)
        Scheduler(workspace=workspace, pipeline=pipeline, run=run, progress=progress).run_all()
    except KeyboardInterrupt as error:
        end(
            workspace, run, RunState.ABORT, seconds=time.perf_counter() - started, error=describe_error(error)
        )
        raise
    except Exception as error:  # noqa: BLE001 - whatever a user's step raises belongs on the run's record
        return end(
            workspace, run, RunState.FAIL, seconds=time.perf_counter() - started, error=describe_error(error)
        )
    return end(workspace, run, RunState.COMPLETE, seconds=time.perf_counter() - started)


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
