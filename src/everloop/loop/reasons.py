"""What speaks for a run of a pipeline right now, trigger by trigger, as the rows say it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from everloop.data.datasets import find_latest, list_batches
from everloop.loop.decisions import Decision, Firing, newest_slot
from everloop.loop.firings import list_firings, list_known_keys
from everloop.loop.situation import FRESHENS
from everloop.loop.triggers import (
    MonitorTrigger,
    NewDataTrigger,
    ScheduleTrigger,
    Trigger,
    Triggers,
)
from everloop.records.data import Batch, DataVerdict
from everloop.records.events import Event, EventType
from everloop.records.runs import RunState
from everloop.storage import ledger
from everloop.storage.schema import events, run_datasets, runs
from everloop.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """The reasons of one pipeline that have not become a run yet."""

    waiting: tuple[Firing, ...]
    """On the ledger, and waiting."""
    new: tuple[Firing, ...]
    """Not on the ledger yet."""
    read: tuple[Firing, ...]
    """Of those that wait, those about data that a run has read since, as they stand now."""

    def pending(self) -> list[Firing]:
        """What is to be decided on, oldest first."""
        settled = {(firing.trigger, firing.key) for firing in self.read}
        waiting = [firing for firing in self.waiting if (firing.trigger, firing.key) not in settled]
        return [*waiting, *sorted(self.new, key=lambda firing: firing.time)]


def reasons(tx: Connection, workspace: Workspace, triggers: Triggers) -> Reasons:
    """Look at every trigger; the same look twice finds the same."""
    waiting = list_firings(tx, triggers.pipeline, Decision.WAITING)
    new: list[Firing] = []
    read: list[Firing] = []
    for rule in triggers.rules:
        mine = [firing for firing in waiting if firing.trigger == rule.name]
        standing = list(_standing(tx, workspace, triggers.pipeline, rule, mine))
        known = list_known_keys(tx, triggers.pipeline, rule.name)
        new += [firing for firing in standing if firing.key not in known]
        if isinstance(rule, NewDataTrigger):
            read += _read_since(tx, triggers.pipeline, rule, mine, standing)
    return Reasons(waiting=tuple(waiting), new=tuple(new), read=tuple(read))


def watch(tx: Connection, workspace: Workspace, triggers: Triggers) -> None:
    """Note when a schedule was first seen; a time before that was never promised, and is not made up for."""
    for rule in triggers.rules:
        if isinstance(rule, ScheduleTrigger):
            details = {"schedule": rule.cron, "zone": rule.timezone}
            kind, source = EventType.TRIGGER_WATCHED, _source(triggers.pipeline)
            ledger.append(tx, workspace.event(kind, source, triggers.pipeline, details, id=_watched(rule)))


def is_watched(tx: Connection, triggers: Triggers) -> bool:
    """Whether there is nothing to note."""
    schedules = (rule for rule in triggers.rules if isinstance(rule, ScheduleTrigger))
    return all(_watched_since(tx, triggers.pipeline, rule) is not None for rule in schedules)


def _standing(
    tx: Connection, workspace: Workspace, pipeline: str, rule: Trigger, waiting: Sequence[Firing]
) -> Iterator[Firing]:
    """Every reason that holds now, on the ledger or not."""
    for key, reason, time in _found(tx, workspace, pipeline, rule, waiting):
        yield Firing(
            trigger=rule.name,
            key=f"{pipeline}/{key}",  # two pipelines may wait for the same thing
            kind=rule.kind,
            pipeline=pipeline,
            time=time,
            reason=reason,
        )


def _found(
    tx: Connection, workspace: Workspace, pipeline: str, rule: Trigger, waiting: Sequence[Firing]
) -> Iterator[tuple[str, str, datetime]]:
    if isinstance(rule, ScheduleTrigger):
        return _by_clock(tx, pipeline, rule, workspace.now())
    if isinstance(rule, NewDataTrigger):
        return _by_data(tx, pipeline, rule, workspace.now(), waiting)
    return _by_event(tx, rule)


def _by_clock(
    tx: Connection, pipeline: str, rule: ScheduleTrigger, now: datetime
) -> Iterator[tuple[str, str, datetime]]:
    since = _watched_since(tx, pipeline, rule)
    slot = None if since is None else newest_slot(rule, since, now)
    if slot is not None:
        there = slot.astimezone(ZoneInfo(rule.timezone))
        yield slot.isoformat(), f"the schedule {rule.cron} says {there.isoformat()}", slot


def _by_data(
    tx: Connection, pipeline: str, rule: NewDataTrigger, now: datetime, waiting: Sequence[Firing]
) -> Iterator[tuple[str, str, datetime]]:
    latest = find_latest(tx, rule.dataset)
    if latest is None:
        return
    reader = _reader(tx, pipeline, rule)
    grown = latest.rows - reader.rows
    if grown >= rule.rows:
        # More that comes while the reason waits is the same reason still.
        keys = (firing.key.removeprefix(f"{pipeline}/") for firing in waiting)
        key = next((key for key in keys if key.startswith("rows-")), f"rows-v{latest.version}")
        yield key, f"{rule.dataset} has {grown:,} new rows", now
    for batch in list_batches(tx, rule.dataset) if rule.or_changed else ():
        if (
            batch.version is not None
            and batch.version > reader.version
            and batch.verdict is DataVerdict.RETRAIN
        ):
            why = f"values of {rule.dataset} changed: {_first_finding(batch)}"
            yield f"changed-v{batch.version}", why, batch.arrived_at


def _by_event(tx: Connection, rule: MonitorTrigger) -> Iterator[tuple[str, str, datetime]]:
    for event in ledger.read(tx, types=[rule.event], subject=rule.monitor):
        yield event.id, _describe(event), event.time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """The newest run that has read a dataset to make models fresh and has not failed; nothing was read before the first."""

    run_id: str | None = None
    complete: bool = False
    version: int = -1
    rows: int = 0


def _reader(tx: Connection, pipeline: str, rule: NewDataTrigger) -> _Reader:
    query = select(runs.c.id, runs.c.state, run_datasets.c.version, run_datasets.c.rows)
    query = query.join(run_datasets, run_datasets.c.run_id == runs.c.id).where(
        runs.c.pipeline == pipeline,
        FRESHENS,
        runs.c.state.not_in([RunState.FAIL.value, RunState.ABORT.value]),
        run_datasets.c.dataset == rule.dataset,
    )
    row = tx.execute(query.order_by(runs.c.requested_at.desc(), runs.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        return _Reader()
    done = row.state == RunState.COMPLETE.value
    return _Reader(run_id=row.id, complete=done, version=row.version, rows=row.rows)


def _read_since(
    tx: Connection, pipeline: str, rule: NewDataTrigger, waiting: Sequence[Firing], standing: Sequence[Firing]
) -> list[Firing]:
    """Reasons that hold no more, because a run that is complete has read the data."""
    reader = _reader(tx, pipeline, rule)
    if not reader.complete:
        return []
    keys = {firing.key for firing in standing}
    because = f"run {reader.run_id} has read the data"
    return [
        replace(firing, decision=Decision.ANSWERED, because=because, run_id=reader.run_id)
        for firing in waiting
        if firing.key not in keys
    ]


def _watched_since(tx: Connection, pipeline: str, rule: ScheduleTrigger) -> datetime | None:
    query = select(events.c.time).where(events.c.source == _source(pipeline), events.c.id == _watched(rule))
    return tx.execute(query).scalar_one_or_none()


def _source(pipeline: str) -> str:
    return f"/triggers/{pipeline}/{ScheduleTrigger.kind}"


def _watched(rule: ScheduleTrigger) -> str:
    return f"{rule.name} {rule.timezone}-watched"


def _first_finding(batch: Batch) -> str:
    return batch.findings[0].message if batch.findings else ""


def _describe(event: Event) -> str:
    return str(event.data.get("because", event.short_type))
