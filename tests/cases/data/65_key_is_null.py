"""Seen in: great_expectations#60, feast. Input: a null in the key of a small batch. Right: quarantine."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.parquet", pa.table({"id": [1, None, 2], "v": [1.5, 2.5, 3.5]}))
    tell(b.verdict == "quarantine", f"{b.verdict} {b.why}")
