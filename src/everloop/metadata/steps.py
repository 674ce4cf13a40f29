"""Steps of runs and the artifacts between them: a row before a step runs, and its outputs with its end."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, select, update
from sqlalchemy.engine import RowMapping

from everloop.metadata.runs import check_epoch
from everloop.records.events import EventType
from everloop.records.lineage import Edge
from everloop.records.runs import ArtifactRef, Run, RunState, StepRun
from everloop.storage import ledger
from everloop.storage.codec import number, storable_text
from everloop.storage.database import insert_once
from everloop.storage.edges import add_edges
from everloop.storage.schema import artifacts, metrics, step_artifacts, steps
from everloop.storage.workspace import Workspace


def begin_step(tx: Connection, run: Run, step: StepRun) -> None:
    """Say that a step is about to run; an unfinished try of the same step is replaced."""
    check_epoch(tx, run)
    here = (step_artifacts.c.run_id == run.id) & (step_artifacts.c.step == step.step)
    tx.execute(delete(step_artifacts).where(here))
    tx.execute(delete(metrics).where(metrics.c.run_id == run.id, metrics.c.step == step.step))
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
    error = None if step.error is None else storable_text(step.error)
    tx.execute(
        update(steps)
        .where(steps.c.run_id == run.id, steps.c.step == step.step)
        .values(
            state=step.state.value,
            ended_at=step.ended_at,
            seconds=step.seconds,
            cached_from=step.cached_from,
            error=error,
        )
    )
    _link(tx, workspace, step, "input", step.inputs)
    _link(tx, workspace, step, "output", step.outputs)
    add_edges(tx, _edges(step))
    _measure(tx, run, step.step, step.metrics)
    kind = EventType.STEP_COMPLETED if step.state is RunState.COMPLETE else EventType.STEP_FAILED
    details = {"step": step.step, "cached_from": step.cached_from, "error": error}
    id = f"{kind}-{run.id}-{step.step}-{run.epoch}"
    ledger.append(tx, workspace.event(kind, f"/pipelines/{run.pipeline}", run.id, details, id=id))


def list_steps(tx: Connection, run_id: str) -> list[StepRun]:
    """The steps of a run in their order, with their artifacts."""
    return _records(tx, select(steps).where(steps.c.run_id == run_id).order_by(steps.c.position))


def find_step(tx: Connection, run_id: str, name: str) -> StepRun | None:
    """One step of a run; None when it has not begun."""
    found = _records(tx, select(steps).where(steps.c.run_id == run_id, steps.c.step == name))
    return found[0] if found else None


def find_completed(tx: Connection, cache_key: str, *, besides: str) -> StepRun | None:
    """The newest completed step of another run with this key: the same code, inputs, params and libraries.

    Within one run, which of two equal steps came first would depend on how fast others were.
    """
    query = select(steps).where(
        steps.c.cache_key == cache_key, steps.c.state == RunState.COMPLETE.value, steps.c.run_id != besides
    )
    newest = query.order_by(steps.c.ended_at.desc(), steps.c.run_id.desc(), steps.c.position)
    found = _records(tx, newest.limit(1))
    return found[0] if found else None


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


def _edges(step: StepRun) -> Iterator[Edge]:
    me = f"run {step.run_id} {step.step}"
    for ref in step.inputs:
        yield Edge(source=f"artifact {ref.digest}", target=me, how=ref.name)
    for ref in step.outputs:
        yield Edge(source=me, target=f"artifact {ref.digest}", how=f"{ref.name} ({ref.format})")


def _measure(tx: Connection, run: Run, step: str, values: Mapping[str, float]) -> None:
    if values:
        measured = [
            {"run_id": run.id, "step": step, "name": name, "value": value} for name, value in values.items()
        ]
        tx.execute(metrics.insert(), measured)


def _records(tx: Connection, query: Select[Any]) -> list[StepRun]:
    """Steps with what they read, made and measured: three queries, however many steps there are."""
    rows = tx.execute(query).mappings().all()
    if not rows:
        return []
    runs = {row["run_id"] for row in rows}
    one = rows[0]["step"] if len(rows) == 1 else None
    linked = _by_step(tx, _linked(runs, one))
    measured = _by_step(tx, _measured(runs, one))
    return [_record(row, linked.get(_place(row), []), measured.get(_place(row), [])) for row in rows]


def _linked(runs: set[str], step: str | None) -> Select[Any]:
    table = step_artifacts.c
    same = (artifacts.c.digest == table.digest) & (artifacts.c.format == table.format)
    query = select(step_artifacts, artifacts.c.size).join(artifacts, same).where(table.run_id.in_(runs))
    query = query.order_by(table.run_id, table.step, table.position)
    return query if step is None else query.where(table.step == step)


def _measured(runs: set[str], step: str | None) -> Select[Any]:
    query = select(metrics).where(metrics.c.run_id.in_(runs))
    return query if step is None else query.where(metrics.c.step == step)


def _by_step(tx: Connection, query: Select[Any]) -> dict[tuple[str, str], list[RowMapping]]:
    found: dict[tuple[str, str], list[RowMapping]] = {}
    for row in tx.execute(query).mappings():
        found.setdefault(_place(row), []).append(row)
    return found


def _place(row: RowMapping) -> tuple[str, str]:
    return row["run_id"], row["step"]


def _record(row: RowMapping, linked: Sequence[RowMapping], measured: Sequence[RowMapping]) -> StepRun:
    return StepRun(
        **dict(row) | {"state": RunState(row["state"])},
        inputs=_refs(linked, "input"),
        outputs=_refs(linked, "output"),
        metrics={found["name"]: number(found["value"]) for found in measured},
    )


def _refs(linked: Sequence[RowMapping], direction: str) -> tuple[ArtifactRef, ...]:
    return tuple(
        ArtifactRef(name=row["name"], digest=row["digest"], format=row["format"], size=row["size"])
        for row in linked
        if row["direction"] == direction
    )
