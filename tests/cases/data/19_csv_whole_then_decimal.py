"""Seen in: pandera#1048, TFDV#95, airbyte PR 29986 ('int64: invalid value 42.5'). Input: a first CSV with prices 10 and 12, a second with 10.5. Right: the numbers fit one column of doubles; at least there is a way on."""

from _case import *

with project(dataset()) as p:
    p.append("rows", "a.csv", "id,price\n1,10\n2,12\n")
    b = p.append("rows", "b.csv", "id,price\n3,10.5\n4,12\n")
    tell(b.accepted, f"{b.verdict}: {b.why}")
