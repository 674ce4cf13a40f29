"""Facts that something happened, with the attributes of CloudEvents 1.0."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from everloop.records.json import Json

TYPE_PREFIX = "io.everloop."


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
