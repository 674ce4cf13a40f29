"""The alarm of a monitor: each of its events in the ledger is a reason, and each is read once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from everloop.loop.decisions import Firing
from everloop.loop.kinds.kind import Found, TriggerKind, reader, reason
from everloop.loop.triggers import MonitorTrigger
from everloop.records.events import Event
from everloop.storage import cursors, ledger
from everloop.storage.workspace import Workspace

_MOST = 500
"""How many alarms are taken up at one look; a trigger that is new to an old ledger takes several."""


class AlarmKind(TriggerKind[MonitorTrigger]):
    """Reads the ledger from its cursor, which moves in the transaction that makes each event a reason."""

    def find(
        self,
        tx: Connection,
        workspace: Workspace,
        pipeline: str,
        rule: MonitorTrigger,
        waiting: Sequence[Firing],
    ) -> Found:
        """The alarms behind the cursor."""
        after = cursors.position(tx, reader(pipeline, rule))
        alarms = ledger.read(tx, after=after, types=[rule.event], subject=rule.monitor, limit=_MOST)
        return Found(
            standing=tuple(reason(pipeline, rule, alarm.id, _because(alarm), alarm.time) for alarm in alarms),
            read_to=alarms[-1].seq if alarms else None,
        )


def _because(alarm: Event) -> str:
    return str(alarm.data.get("because", alarm.short_type))
