"""What a look of a monitor may come to."""

from typing import TypeAlias

from everloop.records.json import JsonObject

OK, ALARM, UNKNOWN = "ok", "alarm", "unknown"
Verdict: TypeAlias = tuple[str, JsonObject]
"""One of these words, and what was found, with `because`."""
