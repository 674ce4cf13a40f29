"""Runs as rows: asked for once, claimed by one worker at a time, ended once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, insert, select, update
from sqlalchemy.engine import RowMapping

from everloop.errors import Conflict, NotFound
from everloop.records.data import DatasetPin
from everloop.records.events import EventType
from everloop.records.json import Json
from everloop.records.lineage import Edge
from everloop.records.runs import CodeVersion, Environment, ModelPin, Run, RunState
from everloop.storage import ledger
from everloop.storage.codec import from_json, number, storable_text, to_json
from everloop.storage.database import in_groups, insert_once
from everloop.storage.edges import add_edges
from everloop.storage.schema import (
    environments,
    metrics,
    params,
    run_datasets,
    run_models,
    run_pins,
    runs,
    steps,
)
from everloop.storage.workspace import Workspace

_OPEN = runs.c.state.in_([RunState.START.value, RunState.RUNNING.value])
_ENDS = {
    RunState.COMPLETE: EventType.RUN_COMPLETED,
    RunState.FAIL: EventType.RUN_FAILED,
    RunState.ABORT: EventType.RUN_ABORTED,
}


def request_run(
    tx: Connection,
    workspace: Workspace,
    *,
    pipeline: str,
    key: str,
    trigger: str,
    reason: str,
    who: str,
    values: Mapping[str, Json],
    register: bool = True,
    data: Mapping[str, int] | None = None,
) -> Run:
    """Ask for a run; the same key again is the same run.

    `register=False` runs everything and registers nothing. `data` names versions of datasets that it shall read instead of
    the newest.
    """
    known = _one(tx, runs.c.key == key)
    if known is not None:
        return known
    new = Run(
        id=workspace.new_id(),
        pipeline=pipeline,
        key=key,
        state=RunState.START,
        trigger=trigger,
        reason=reason,
        who=who,
        params=dict(values),
        requested_at=workspace.now(),
        register=register,
        data=dict(data or {}),
    )
    row = {
        name: getattr(new, name)
        for name in ("id", "pipeline", "key", "trigger", "reason", "who", "requested_at", "register")
    }
    tx.execute(insert(runs).values(**row, state=new.state.value, epoch=0, resumed=0))
    if values:
        given = [{"run_id": new.id, "name": name, "value": value} for name, value in values.items()]
        tx.execute(insert(params), given)
    if data:
        asked = [{"run_id": new.id, "dataset": name, "version": version} for name, version in data.items()]
        tx.execute(insert(run_pins), asked)
    _emit(tx, workspace, new, EventType.RUN_REQUESTED, {"trigger": trigger, "reason": reason})
    return new


def claim_run(
    tx: Connection,
    workspace: Workspace,
    *,
    worker: str,
    alive: Callable[[str], bool],
    only: str | None = None,
) -> Run | None:
    """Take the oldest run that a dead worker left, or else that waits; None when there is no work.

    At most one run of a pipeline runs at a time. `only` names the one run to take, if it is free.
    """
    open_runs = list_open_runs(tx)
    busy = {run.pipeline for run in open_runs if run.worker is not None and alive(run.worker)}
    free = [run for run in open_runs if run.pipeline not in busy and only in (None, run.id)]
    if not free:
        return None
    chosen = next((run for run in free if run.worker is not None), free[0])
    resumed = chosen.state is RunState.RUNNING
    claimed = replace(
        chosen,
        state=RunState.RUNNING,
        worker=worker,
        epoch=chosen.epoch + 1,
        resumed=chosen.resumed + resumed,
        started_at=chosen.started_at or workspace.now(),
    )
    _update(tx, claimed, "state", "worker", "epoch", "resumed", "started_at")
    _emit(
        tx,
        workspace,
        claimed,
        EventType.RUN_RESUMED if resumed else EventType.RUN_STARTED,
        {"worker": worker, "epoch": claimed.epoch},
    )
    return claimed


def has_work(tx: Connection) -> bool:
    """Whether any run waits or is under way; a cheap look before queueing for a claim."""
    return tx.execute(select(runs.c.id).where(_OPEN).limit(1)).first() is not None


def list_open_runs(tx: Connection, pipeline: str | None = None) -> list[Run]:
    """Runs that have not ended, the one that was asked for first first."""
    query = select(runs).where(_OPEN)
    if pipeline is not None:
        query = query.where(runs.c.pipeline == pipeline)
    return sorted(_records(tx, query), key=lambda run: (run.requested_at, run.id))


def pin_run(
    tx: Connection,
    run: Run,
    *,
    code: CodeVersion,
    env: Environment,
    datasets: Iterable[DatasetPin],
    models: Iterable[ModelPin],
) -> Run:
    """Fix what the run reads, once: a resumed run keeps the versions it began with."""
    check_epoch(tx, run)
    known = get_run(tx, run.id)
    if known.code is not None:
        return known
    insert_once(
        tx,
        environments,
        {
            "digest": env.digest,
            "python": env.python,
            "platform": env.platform,
            "libraries": dict(env.libraries),
        },
    )
    pinned = replace(run, code=code, environment=env, datasets=tuple(datasets), models=tuple(models))
    tx.execute(update(runs).where(runs.c.id == run.id).values(code=to_json(code), environment=env.digest))
    for pin in pinned.datasets:
        row = {"run_id": run.id, "dataset": pin.dataset, "version": pin.version, "rows": pin.rows}
        insert_once(tx, run_datasets, row)
    for model in pinned.models:
        insert_once(tx, run_models, {"run_id": run.id, **to_json(model)})
    kept = get_run(tx, run.id)
    add_edges(tx, _reads(kept))
    return kept


def end_run(
    tx: Connection,
    workspace: Workspace,
    run: Run,
    state: RunState,
    *,
    seconds: float,
    error: str | None = None,
) -> Run:
    """Write how a run ended, once."""
    check_epoch(tx, run)
    stored = None if error is None else storable_text(error)
    ended = replace(
        run, state=state, ended_at=workspace.now(), seconds=(run.seconds or 0.0) + seconds, error=stored
    )
    _update(tx, ended, "state", "ended_at", "seconds", "error")
    _emit(tx, workspace, ended, _ENDS[state], {"error": stored})
    return ended


def check_epoch(tx: Connection, run: Run) -> None:
    """Refuse to write for a run that another worker has taken over or ended."""
    row = tx.execute(select(runs.c.epoch, runs.c.state).where(runs.c.id == run.id)).one()
    if row.epoch != run.epoch or RunState(row.state).ended:
        raise Conflict(
            f"run {run.id} was taken over or ended by somebody else; this worker lets go of it.",
            next_step="`everloop runs` shows who has it.",
        )


def get_run(tx: Connection, run_id: str) -> Run:
    """The run with this id, or with an id that begins or ends so; NotFound for none, Conflict for several."""
    run_id = run_id.lower()  # as ids are; SQLite's LIKE would not mind, PostgreSQL's does
    found = _one(tx, runs.c.id == run_id)
    if found is None and len(run_id) >= 4:
        matches = (
            tx.execute(
                select(runs.c.id).where(
                    runs.c.id.startswith(run_id, autoescape=True)
                    | runs.c.id.endswith(run_id, autoescape=True)
                )
            )
            .scalars()
            .all()
        )
        if len(matches) > 1:
            raise Conflict(f"{len(matches)} runs match {run_id!r}.", next_step="give more of the id.")
        found = _one(tx, runs.c.id == matches[0]) if matches else None
    if found is None:
        raise NotFound(f"there is no run {run_id!r}.", next_step="`everloop runs` lists them.")
    return found


def list_runs(
    tx: Connection, *, pipeline: str | None = None, state: RunState | None = None, limit: int | None = None
) -> list[Run]:
    """Runs, newest first."""
    query = select(runs).order_by(runs.c.requested_at.desc(), runs.c.id.desc())
    if pipeline is not None:
        query = query.where(runs.c.pipeline == pipeline)
    if state is not None:
        query = query.where(runs.c.state == state.value)
    if limit is not None:
        query = query.limit(limit)
    return _records(tx, query)


def run_metrics(tx: Connection, run_id: str) -> dict[str, float]:
    """Every number that the steps of a run measured; of two with one name, the later step's."""
    same_step = (metrics.c.run_id == steps.c.run_id) & (metrics.c.step == steps.c.step)
    query = select(metrics.c.name, metrics.c.value).join(steps, same_step)
    query = query.where(metrics.c.run_id == run_id).order_by(steps.c.position, metrics.c.name)
    return {name: number(value) for name, value in tx.execute(query)}


def _one(tx: Connection, condition: ColumnElement[bool]) -> Run | None:
    found = _records(tx, select(runs).where(condition))
    return found[0] if found else None


def _records(tx: Connection, query: Select[Any]) -> list[Run]:
    """Runs with what they were given and what they read: six queries for each few hundred runs, and one for none."""
    rows = tx.execute(query).mappings().all()
    return [run for group in in_groups(rows) for run in _group(tx, group)]


def _group(tx: Connection, rows: Sequence[RowMapping]) -> Iterator[Run]:
    values, asked, pins, models = (
        _by_run(tx, table, rows) for table in (params, run_pins, run_datasets, run_models)
    )
    environment = _environments(tx, {row["environment"] for row in rows})
    for row in rows:
        of = row["id"]
        plain = dict(row) | {
            "state": RunState(row["state"]),
            "params": {given["name"]: given["value"] for given in values.get(of, ())},
            "data": {pin["dataset"]: pin["version"] for pin in asked.get(of, ())},
            "datasets": tuple(DatasetPin(**pin) for pin in pins.get(of, ())),
            "models": tuple(ModelPin(**pin) for pin in models.get(of, ())),
            "code": None if row["code"] is None else from_json(CodeVersion, row["code"]),
            "environment": None if row["environment"] is None else environment[row["environment"]],
        }
        yield Run(**plain)


def _by_run(tx: Connection, table: Table, rows: Sequence[RowMapping]) -> dict[str, list[dict[str, Any]]]:
    """The rows of a table that belong to these runs, in the order of its key, without the id of the run."""
    query = select(table).where(table.c.run_id.in_([row["id"] for row in rows])).order_by(*table.primary_key)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in tx.execute(query).mappings():
        plain = dict(row)
        found.setdefault(plain.pop("run_id"), []).append(plain)
    return found


def _environments(tx: Connection, digests: set[str | None]) -> dict[str, Environment]:
    query = select(environments).where(environments.c.digest.in_(digests))
    return {row["digest"]: Environment(**row) for row in tx.execute(query).mappings()}


def _update(tx: Connection, run: Run, *names: str) -> None:
    tx.execute(update(runs).where(runs.c.id == run.id).values(**{name: getattr(run, name) for name in names}))


def _reads(run: Run) -> Iterator[Edge]:
    me = f"run {run.id}"
    for pin in run.datasets:
        yield Edge(source=f"dataset {pin.dataset}@{pin.version}", target=me, how="read")
    for model in run.models:
        if model.version is not None:
            yield Edge(source=f"model {model.model}@{model.version}", target=me, how=model.alias)


def _emit(tx: Connection, workspace: Workspace, run: Run, kind: EventType, data: Mapping[str, Json]) -> None:
    # The epoch makes a repeat of the same change the same event.
    event = workspace.event(
        kind, f"/pipelines/{run.pipeline}", run.id, data, id=f"{kind}-{run.id}-{run.epoch}"
    )
    ledger.append(tx, event)
