"""Seen in: duckdb#14919, apache/arrow#46698 (ISO times with Z in JSON). Input: JSON lines with 2024-01-05T10:00:00Z. Right: an instant with a zone, as from a CSV with the same text; without one no view can use it."""

from _case import *

with project(dataset(event_time='"at"'), dump="rows") as p:
    b = p.append(
        "rows", "a.jsonl", '{"id":1,"at":"2024-01-05T10:00:00Z"}\n{"id":2,"at":"2024-01-05T11:00:00+02:00"}\n'
    )
    kind = p.rows().schema.field("at").type
    tell(getattr(kind, "tz", None) is not None, f"{b.verdict}, and at is {kind}")
