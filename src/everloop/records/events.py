"""Facts that something happened, with the attributes of CloudEvents 1.0."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from everloop.records.json import Json

TYPE_PREFIX = "io.everloop."
"""Goes before every type, in the ledger and on the wire."""


class EventType(StrEnum):
    """Every type of event that the ledger holds; a new one is a line here."""

    DATA_ARRIVED = "data.arrived"
    DATA_CHANGED = "data.changed"
    DATA_QUARANTINED = "data.quarantined"
    DATA_STOPPED = "data.stopped"
    TRIGGER_WATCHED = "trigger.watched"
    TRIGGER_WAITING = "trigger.waiting"
    TRIGGER_STARTED = "trigger.started"
    TRIGGER_COALESCED = "trigger.coalesced"
    TRIGGER_ANSWERED = "trigger.answered"
    RUN_REQUESTED = "run.requested"
    RUN_STARTED = "run.started"
    RUN_RESUMED = "run.resumed"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_ABORTED = "run.aborted"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    MODEL_REGISTERED = "model.registered"
    CHAMPION_CHANGED = "champion.changed"
    CHALLENGER_CHANGED = "challenger.changed"
    ROLLOUT_STARTED = "rollout.started"
    ROLLOUT_STEPPED = "rollout.stepped"
    ROLLOUT_RECOUNTED = "rollout.recounted"
    ROLLOUT_PROMOTED = "rollout.promoted"
    ROLLOUT_ROLLED_BACK = "rollout.rolled_back"
    ROLLOUT_INCONCLUSIVE = "rollout.inconclusive"
    PERFORMANCE_DECAYED = "performance.decayed"
    DRIFT_DETECTED = "drift.detected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the ledger; `source` and `id` together are unique, so a repeat changes nothing."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Mapping[str, Json] = field(default_factory=dict)
    seq: int = 0
    """Place in the ledger; 0 until it has been written."""

    @property
    def short_type(self) -> str:
        """The type without the reverse-DNS prefix: `drift.detected`."""
        return self.type.removeprefix(TYPE_PREFIX)
