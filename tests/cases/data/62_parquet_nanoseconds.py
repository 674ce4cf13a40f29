"""Seen in: polars PR 10633, delta-rs#1455 (precision). Input: a stamp with real nanoseconds. Right: not rounded in silence: refused in a sentence."""

from _case import *

t = pa.table({"id": [1], "at": pa.array([1704448800123456789], pa.timestamp("ns", "UTC"))})
with project(dataset()) as p:
    b = p.append("rows", "a.parquet", t)
    tell(not b.accepted and not b.crashed and "at" in b.why, f"{b.verdict}: {b.why}")
