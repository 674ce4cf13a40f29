"""Seen in: delta-rs#3544 (exactly this). Input: tags are lists of texts; then a batch in which every list is empty. Right: it fits."""

from _case import *

with project(dataset(), dump="rows") as p:
    p.append("rows", "a.jsonl", '{"id":1,"tags":["a","b"]}\n{"id":2,"tags":[]}\n')
    b = p.append("rows", "b.jsonl", '{"id":3,"tags":[]}\n{"id":4,"tags":[]}\n')
    tell(b.accepted, f"{b.verdict}: {b.why}")
