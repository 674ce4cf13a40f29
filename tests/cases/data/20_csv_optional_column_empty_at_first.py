"""Seen in: delta-rs#1946, delta-rs#3387, pandera#1695 (a column of nothing but nulls). Input: a first CSV whose last column is empty. Right: it can begin, or the sentence names a step that is possible with a CSV ('cast it' is not)."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.csv", "id,x,comment\n1,2.5,\n2,3.5,\n")
    tell(b.accepted, f"{b.verdict}: {b.why}")
