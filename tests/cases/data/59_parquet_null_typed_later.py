"""Seen in: delta-rs#3891, #1946, #3691, evidently#1480. Input: columns that are all null (type null) in a later small batch. Right: they fit."""

from _case import *

with project(dataset(), dump="rows") as p:
    p.append("rows", "a.parquet", pa.table({"id": [1, 2], "n": [1, 2], "s": ["a", "b"]}))
    b = p.append("rows", "b.parquet", pa.table({"id": [3, 4], "n": pa.nulls(2), "s": pa.nulls(2)}))
    tell(b.accepted and p.rows()["n"].to_pylist() == [1, 2, None, None], f"{b.verdict} {b.why}")
