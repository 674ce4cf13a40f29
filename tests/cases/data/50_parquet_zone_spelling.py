"""Seen in: delta-rs#1777, #3507, #1455 (time zones on append). Input: UTC, then the same instants in a file that spells it +00:00. Right: the same type; the store keeps both as UTC."""

from _case import *


def at(zone: str) -> pa.Table:
    return pa.table(
        {"id": [1, 2], "at": pa.array([datetime(2024, 1, 5, tzinfo=UTC)] * 2).cast(pa.timestamp("us", zone))}
    )


bad = []
for other in ("+00:00", "Etc/UTC"):
    with project(dataset()) as p:
        p.append("rows", "a.parquet", at("UTC"))
        b = p.append("rows", "b.parquet", at(other))
        if not b.accepted:
            bad.append(f"{other}: {b.verdict} {b.why}")
tell(not bad, "; ".join(bad) or "accepted")
