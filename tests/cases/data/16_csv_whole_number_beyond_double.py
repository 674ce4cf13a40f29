"""Seen in: arrow-rs#4697, pandera#2021 (coercion). Input: a dataset with a double column; a CSV of whole numbers, one of them 2**53+1. Right: one sentence or a stored value; no traceback."""

from _case import *

with project(dataset()) as p:
    p.append("rows", "a.csv", "id,x\n1,2.5\n")
    b = p.append("rows", "b.csv", "id,x\n2,9007199254740993\n3,5\n")
    tell(not b.crashed, f"{b.verdict}: {b.why}")
