"""Seen in: no report looked up (Excel in Europe writes semicolons). Right: a stop that names the missing key."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.csv", "id;x\n1;2\n2;3\n")
    tell(not b.accepted and not b.crashed and "id" in b.why, f"{b.verdict}: {b.why}")
