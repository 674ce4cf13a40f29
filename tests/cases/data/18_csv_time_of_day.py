"""Seen in: delta-rs#2272 (no time type). Input: a CSV with a column of clock times such as 10:30. Right: it can be appended (as text), or the sentence says what a person with a CSV can do; 'keep it as a text' does not help, for in a CSV it is one."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.csv", "id,dep,x\n1,10:30,2.5\n2,23:45,3.5\n")
    tell(b.accepted, f"{b.verdict}: {b.why}")
