"""Runs and steps as rows, made in a line."""

from collections.abc import Callable

from everloop.metadata.runs import claim_run, pin_run, request_run
from everloop.metadata.steps import begin_step, end_step
from everloop.records.data import DatasetPin
from everloop.records.json import Json
from everloop.records.runs import ArtifactRef, CodeVersion, Environment, ModelPin, Run, RunState, StepRun
from everloop.storage.workspace import Workspace

CODE = CodeVersion(commit="c" * 40, dirty=False, digest="d" * 64)
ENVIRONMENT = Environment(python="3.11.9", platform="linux", libraries={"numpy": "2.0"}, digest="e" * 64)


def request(workspace: Workspace, key: str = "k", *, pipeline: str = "train", **values: Json) -> Run:
    """Ask for a run."""
    with workspace.database.write() as tx:
        return request_run(
            tx,
            workspace,
            pipeline=pipeline,
            key=key,
            trigger="on_demand",
            reason="why not",
            who="ann",
            values=values,
        )


def claim(
    workspace: Workspace,
    worker: str = "w",
    *,
    alive: Callable[[str], bool] = lambda worker: True,
    only: str | None = None,
) -> Run | None:
    """Claim a run; every other worker is alive unless told."""
    with workspace.database.write() as tx:
        return claim_run(tx, workspace, worker=worker, alive=alive, only=only)


def running(workspace: Workspace, key: str = "k", *, pipeline: str = "train") -> Run:
    """A run that was asked for and claimed."""
    asked = request(workspace, key, pipeline=pipeline)
    claimed = claim(workspace, only=asked.id, alive=lambda worker: False)
    assert claimed is not None
    return claimed


def pin(
    workspace: Workspace, run: Run, *, datasets: dict[str, int] | None = None, models: int | None = None
) -> Run:
    """Fix what it reads: versions of datasets by name, and the champion of `late`."""
    with workspace.database.write() as tx:
        return pin_run(
            tx,
            run,
            code=CODE,
            env=ENVIRONMENT,
            datasets=[DatasetPin(dataset=name, version=v, rows=10) for name, v in (datasets or {}).items()],
            models=[
                ModelPin(model="late", alias="champion", version=models, digest="m" * 64 if models else None)
            ],
        )


def step(
    workspace: Workspace,
    run: Run,
    name: str,
    *,
    place: int = 0,
    inputs: tuple[ArtifactRef, ...] = (),
    outputs: tuple[ArtifactRef, ...] = (),
    metrics: dict[str, float] | None = None,
    state: RunState = RunState.COMPLETE,
    cache_key: str = "",
    error: str | None = None,
) -> StepRun:
    """Begin a step and end it."""
    row = StepRun(
        run_id=run.id,
        step=name,
        position=place,
        state=RunState.RUNNING,
        cache_key=cache_key or f"{run.id}-{name}"[:64],
        started_at=workspace.now(),
        inputs=inputs,
    )
    with workspace.database.write() as tx:
        begin_step(tx, run, row)
    ended = StepRun(
        run_id=run.id,
        step=name,
        position=place,
        state=state,
        cache_key=row.cache_key,
        started_at=row.started_at,
        ended_at=workspace.now(),
        seconds=1.5,
        inputs=inputs,
        outputs=outputs,
        metrics=metrics or {},
        error=error,
    )
    with workspace.database.write() as tx:
        end_step(tx, workspace, run, ended)
    return ended


def artifact(name: str, letter: str, format: str = "json") -> ArtifactRef:
    """An artifact whose digest is one letter many times."""
    return ArtifactRef(name=name, digest=letter * 64, format=format, size=7)
