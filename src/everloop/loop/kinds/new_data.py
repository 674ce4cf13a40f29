"""New data: what a dataset has more than the pipeline's last run has read of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from everloop.data.datasets import find_latest, list_changes
from everloop.loop.decisions import Decision, Firing
from everloop.loop.kinds.kind import Found, TriggerKind, reason
from everloop.loop.triggers import NewDataTrigger
from everloop.metadata.freshness import find_newest_fresh, get_version_read
from everloop.records.data import Batch
from everloop.records.runs import RunState
from everloop.storage.workspace import Workspace

_NOT_FAILED = (RunState.START, RunState.RUNNING, RunState.COMPLETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """The newest run that has read a dataset to make models fresh and has not failed; nothing was read before the first."""

    run_id: str | None = None
    complete: bool = False
    version: int = -1
    rows: int = 0


class NewDataKind(TriggerKind[NewDataTrigger]):
    """Looks behind the version that was read, and never at what came before it."""

    def find(
        self,
        tx: Connection,
        workspace: Workspace,
        pipeline: str,
        rule: NewDataTrigger,
        waiting: Sequence[Firing],
    ) -> Found:
        """Enough new rows, and batches whose values changed; what waits is answered by the run that has read them."""
        reader = _reader(tx, pipeline, rule)
        standing = tuple(_standing(tx, pipeline, rule, reader, waiting, workspace.now()))
        return Found(standing=standing, answered=_answered(reader, waiting, standing))


def _standing(
    tx: Connection,
    pipeline: str,
    rule: NewDataTrigger,
    reader: _Reader,
    waiting: Sequence[Firing],
    now: datetime,
) -> Iterator[Firing]:
    latest = find_latest(tx, rule.dataset)
    if latest is None:
        return
    grown = latest.rows - reader.rows
    if grown >= rule.rows:
        # More that comes while the reason waits is the same reason still.
        keys = (firing.key.removeprefix(f"{pipeline}/") for firing in waiting)
        key = next((key for key in keys if key.startswith("rows-")), f"rows-v{latest.version}")
        yield reason(pipeline, rule, key, f"{rule.dataset} has {grown:,} new rows", now)
    for batch in list_changes(tx, rule.dataset, after=reader.version) if rule.or_changed else ():
        text = f"values of {rule.dataset} changed: {_first_finding(batch)}"
        yield reason(pipeline, rule, f"changed-v{batch.version}", text, batch.arrived_at)


def _reader(tx: Connection, pipeline: str, rule: NewDataTrigger) -> _Reader:
    run = find_newest_fresh(tx, pipeline, states=_NOT_FAILED, read=rule.dataset)
    if run is None:
        return _Reader()
    pin = get_version_read(tx, run.id, rule.dataset)
    done = run.state is RunState.COMPLETE
    return _Reader(run_id=run.id, complete=done, version=pin.version, rows=pin.rows)


def _answered(reader: _Reader, waiting: Sequence[Firing], standing: Sequence[Firing]) -> tuple[Firing, ...]:
    """Reasons that hold no more, because a run that is complete has read the data."""
    if not reader.complete:
        return ()
    keys = {firing.key for firing in standing}
    because = f"run {reader.run_id} has read the data"
    return tuple(
        replace(firing, decision=Decision.ANSWERED, because=because, run_id=reader.run_id)
        for firing in waiting
        if firing.key not in keys
    )


def _first_finding(batch: Batch) -> str:
    return batch.findings[0].message if batch.findings else ""
