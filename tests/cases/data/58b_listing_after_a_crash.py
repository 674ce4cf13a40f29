"""Seen in: as 58, delta-rs (failed commits). Input: the append of 58, then a good one. Right: the list of batches does not say that the first one passed."""

from _case import *

with project(dataset()) as p:
    p.append("rows", "a.csv", "id,Price,price\n1,2.5,3.5\n")
    p.append("rows", "b.csv", "id,price\n1,2.5\n")
    shown = {b["key"].split("@")[0]: (b["verdict"], b["version"]) for b in p.batches("rows")}
    tell("a.csv" not in shown or shown["a.csv"][0] != "pass", f"{shown}")
