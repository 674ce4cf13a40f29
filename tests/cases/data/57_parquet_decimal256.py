"""Seen in: whylogs#620 (decimals), delta-rs (types Delta does not have). Input: decimal256(50, 2). Right: refused in a sentence."""

from _case import *

from decimal import Decimal

t = pa.table({"id": [1, 2], "v": pa.array([Decimal("1.50"), Decimal("2.50")], pa.decimal256(50, 2))})
with project(dataset()) as p:
    b = p.append("rows", "a.parquet", t)
    tell(not b.crashed, f"{b.verdict}: {b.why}")
