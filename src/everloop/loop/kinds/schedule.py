"""The clock: the newest time of a schedule that has come since the schedule was first seen."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from everloop.loop.decisions import Firing, newest_slot
from everloop.loop.kinds.kind import Found, TriggerKind, reason
from everloop.loop.triggers import ScheduleTrigger
from everloop.records.events import Event, EventType
from everloop.storage import ledger
from everloop.storage.workspace import Workspace


class ScheduleKind(TriggerKind[ScheduleTrigger]):
    """A time before a schedule was first seen was never promised, and is not made up for."""

    def watch(self, tx: Connection, workspace: Workspace, pipeline: str, rule: ScheduleTrigger) -> None:
        """Note when that was."""
        details = {"schedule": rule.cron, "zone": rule.timezone}
        kind, source = EventType.TRIGGER_WATCHED, _source(pipeline)
        ledger.append(tx, workspace.event(kind, source, pipeline, details, id=_watched(rule)))

    def is_watched(self, tx: Connection, pipeline: str, rule: ScheduleTrigger) -> bool:
        """Whether it was noted."""
        return _first_seen(tx, pipeline, rule) is not None

    def find(
        self,
        tx: Connection,
        workspace: Workspace,
        pipeline: str,
        rule: ScheduleTrigger,
        waiting: Sequence[Firing],
    ) -> Found:
        """The newest time; those that were missed before it are made up for by it."""
        seen = _first_seen(tx, pipeline, rule)
        slot = None if seen is None else newest_slot(rule, seen.time, workspace.now())
        if slot is None:
            return Found()
        there = slot.astimezone(ZoneInfo(rule.timezone))
        text = f"the schedule {rule.cron} says {there.isoformat()}"
        return Found(standing=(reason(pipeline, rule, slot.isoformat(), text, slot),))


def _first_seen(tx: Connection, pipeline: str, rule: ScheduleTrigger) -> Event | None:
    return ledger.find_event(tx, _source(pipeline), _watched(rule))


def _source(pipeline: str) -> str:
    return f"/triggers/{pipeline}/{ScheduleTrigger.kind}"


def _watched(rule: ScheduleTrigger) -> str:
    return f"{rule.name} {rule.timezone}-watched"
