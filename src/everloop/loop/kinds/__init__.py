"""The kinds of triggers: one record in `triggers`, one file here and one line of `TRIGGERS` each."""

from collections.abc import Mapping
from typing import Any

from everloop.loop.kinds.alarm import AlarmKind
from everloop.loop.kinds.kind import Found, TriggerKind
from everloop.loop.kinds.new_data import NewDataKind
from everloop.loop.kinds.schedule import ScheduleKind
from everloop.loop.triggers import DecayTrigger, DriftTrigger, NewDataTrigger, ScheduleTrigger, Trigger

__all__ = ["TRIGGERS", "Found", "TriggerKind"]

TRIGGERS: Mapping[type[Trigger], TriggerKind[Any]] = {
    ScheduleTrigger: ScheduleKind(),
    NewDataTrigger: NewDataKind(),
    DecayTrigger: AlarmKind(),
    DriftTrigger: AlarmKind(),
}
