"""Seen in: dataprof#381 (repeated headers). Input: a dataset with a double column x; then a CSV with x twice, in whole numbers. Right: one sentence that names x, as for a first batch."""

from _case import *

with project(dataset()) as p:
    p.append("rows", "a.csv", "id,x\n1,2.5\n")
    b = p.append("rows", "b.csv", "id,x,x\n2,3,4\n")
    tell(not b.crashed and not b.accepted and "x" in b.why, f"{b.verdict}: {b.why}")
