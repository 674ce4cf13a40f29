"""Seen in: cudf#7088 (integers compared as doubles). Input: int64 2**53+1 under between(0, 2**53). Right: it is above."""

from _case import *

t = pa.table({"id": [1, 2], "n": [2**53 + 1, 2**53]})
with project(dataset(more='expect=[between("n", 0, 2**53)]')) as p:
    b = p.append("rows", "a.parquet", t)
    tell(b.verdict == "quarantine", f"9007199254740993 is at most 9007199254740992: {b.verdict} {b.why}")
