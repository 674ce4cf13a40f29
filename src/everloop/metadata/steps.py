"""Steps of runs and the artifacts between them: a row before a step runs, and its outputs with its end."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.engine import RowMapping

from everloop.metadata.runs import check_epoch
from everloop.records.runs import ArtifactRef, Run, RunState, StepRun
from everloop.storage import ledger
from everloop.storage.database import insert_once
from everloop.storage.schema import artifacts, metrics, step_artifacts, steps
from everloop.storage.workspace import Workspace


def begin_step(tx: Connection, run: Run, step: StepRun) -> None:
    """Say that a step is about to run; an unfinished try of the same step is replaced."""
    check_epoch(tx, run)
    here = (step_artifacts.c.run_id == run.id) & (step_artifacts.c.step == step.step)
    tx.execute(delete(step_artifacts).where(here))
    tx.execute(delete(steps).where(steps.c.run_id == run.id, steps.c.step == step.step))
    tx.execute(
        steps.insert().values(
            run_id=run.id,
            step=step.step,
            position=step.position,
            state=step.state.value,
            cache_key=step.cache_key,
            started_at=step.started_at,
        )
    )


def end_step(tx: Connection, workspace: Workspace, run: Run, step: StepRun) -> None:
    """Write a step's end with everything it read, made and measured, in one transaction."""
    check_epoch(tx, run)
    tx.execute(
        update(steps)
        .where(steps.c.run_id == run.id, steps.c.step == step.step)
        .values(
            state=step.state.value,
            ended_at=step.ended_at,
            seconds=step.seconds,
            cached_from=step.cached_from,
            error=step.error,
        )
    )
    _link(tx, workspace, step, "input", step.inputs)
    _link(tx, workspace, step, "output", step.outputs)
    _measure(tx, run, step.step, step.metrics)
    kind = "step.completed" if step.state is RunState.COMPLETE else "step.failed"
    told = {"step": step.step, "cached_from": step.cached_from, "error": step.error}
    id = f"{kind}-{run.id}-{step.step}-{run.epoch}"
    ledger.append(tx, workspace.event(kind, f"/pipelines/{run.pipeline}", run.id, told, id=id))


def list_steps(tx: Connection, run_id: str) -> list[StepRun]:
    """The steps of a run in their order, with their artifacts."""
    rows = tx.execute(select(steps).where(steps.c.run_id == run_id).order_by(steps.c.position)).mappings()
    return [_record(tx, row) for row in rows]


def find_completed(tx: Connection, cache_key: str) -> StepRun | None:
    """The newest completed step with this key: the same code, inputs, params and libraries."""
    query = select(steps).where(steps.c.cache_key == cache_key, steps.c.state == RunState.COMPLETE.value)
    row = tx.execute(query.order_by(steps.c.ended_at.desc()).limit(1)).mappings().one_or_none()
    return None if row is None else _record(tx, row)


def _link(
    tx: Connection, workspace: Workspace, step: StepRun, direction: str, refs: Sequence[ArtifactRef]
) -> None:
    for place, ref in enumerate(refs):
        row = {"digest": ref.digest, "format": ref.format, "size": ref.size, "created_at": workspace.now()}
        insert_once(tx, artifacts, row)
        tx.execute(
            step_artifacts.insert().values(
                run_id=step.run_id,
                step=step.step,
                direction=direction,
                name=ref.name,
                position=place,
                digest=ref.digest,
                format=ref.format,
            )
        )


def _measure(tx: Connection, run: Run, step: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        tx.execute(delete(metrics).where(metrics.c.run_id == run.id, metrics.c.name == name))
        tx.execute(metrics.insert().values(run_id=run.id, name=name, step=step, value=value))


def _record(tx: Connection, row: RowMapping) -> StepRun:
    query = (
        select(step_artifacts, artifacts.c.size)
        .join(
            artifacts,
            (artifacts.c.digest == step_artifacts.c.digest) & (artifacts.c.format == step_artifacts.c.format),
        )
        .where(step_artifacts.c.run_id == row["run_id"], step_artifacts.c.step == row["step"])
        .order_by(step_artifacts.c.position)
    )
    linked = tx.execute(query).mappings().all()
    measured = select(metrics.c.name, metrics.c.value)
    measured = measured.where(metrics.c.run_id == row["run_id"], metrics.c.step == row["step"])
    return StepRun(
        **dict(row) | {"state": RunState(row["state"])},
        inputs=_refs(linked, "input"),
        outputs=_refs(linked, "output"),
        metrics={name: value for name, value in tx.execute(measured)},
    )


def _refs(linked: Sequence[RowMapping], direction: str) -> tuple[ArtifactRef, ...]:
    return tuple(
        ArtifactRef(name=row["name"], digest=row["digest"], format=row["format"], size=row["size"])
        for row in linked
        if row["direction"] == direction
    )
