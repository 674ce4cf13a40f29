"""Which runs have made models fresh: asked by the triggers at every look, so each answer is a few steps along an index."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, exists, func, select, union_all

from everloop.records.data import DatasetPin
from everloop.records.runs import RunState
from everloop.storage.schema import run_datasets, run_pins, runs


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshRun:
    """A run that was asked to make models fresh (`Run.freshens`), as far as a trigger wants to know it."""

    id: str
    state: RunState
    requested_at: datetime


def find_newest_fresh(
    tx: Connection,
    pipeline: str,
    *,
    states: Iterable[RunState] = tuple(RunState),
    read: str | None = None,
) -> FreshRun | None:
    """The newest such run in one of these states; with `read`, of those that have read this dataset."""
    # State by state: each is a step along an index, while over several at once a database would read all that there were.
    newest = (_newest(pipeline, state, read).subquery() for state in states)
    rows = tx.execute(union_all(*(select(one) for one in newest)))
    found = [FreshRun(id=row.id, state=RunState(row.state), requested_at=row.requested_at) for row in rows]
    return max(found, key=lambda run: (run.requested_at, run.id), default=None)


def get_version_read(tx: Connection, run_id: str, dataset: str) -> DatasetPin:
    """The version of a dataset that a run has read."""
    query = select(run_datasets.c.version, run_datasets.c.rows)
    row = tx.execute(query.where(run_datasets.c.run_id == run_id, run_datasets.c.dataset == dataset)).one()
    return DatasetPin(dataset=dataset, version=row.version, rows=row.rows)


def count_requested(tx: Connection, pipeline: str, *, since: datetime, but: str) -> int:
    """Runs of a pipeline that were asked for after a moment, by any trigger but this one."""
    query = select(func.count()).select_from(runs)
    query = query.where(runs.c.pipeline == pipeline, runs.c.requested_at > since, runs.c.trigger != but)
    return tx.execute(query).scalar_one()


def _newest(pipeline: str, state: RunState, read: str | None) -> Select[Any]:
    query = select(runs.c.id, runs.c.state, runs.c.requested_at)
    query = query.where(runs.c.state == state.value, runs.c.pipeline == pipeline, runs.c.register)
    query = query.where(~exists().where(run_pins.c.run_id == runs.c.id))
    if read is not None:
        query = query.where(
            exists().where(run_datasets.c.run_id == runs.c.id, run_datasets.c.dataset == read)
        )
    return query.order_by(runs.c.requested_at.desc(), runs.c.id.desc()).limit(1)
