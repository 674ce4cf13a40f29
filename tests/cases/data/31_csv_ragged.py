"""Seen in: no report looked up. Input: a row with one value too many. Right: refused with the row."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.csv", "id,x\n1,2\n2,3,4\n")
    tell(not b.crashed and not b.accepted and "2,3,4" in b.why, f"{b.verdict}: {b.why}")
