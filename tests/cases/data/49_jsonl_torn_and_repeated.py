"""Seen in: no report looked up (half-written files, repeated keys). Right: both refused in a sentence."""

from _case import *

with project(dataset()) as p:
    a = p.append("rows", "a.jsonl", '{"id":1}\n{"id":2}\n{"id":')
    b = p.append("rows", "b.jsonl", '{"id":1,"x":1,"x":2}\n')
    tell(not a.accepted and not b.accepted and not a.crashed and not b.crashed, f"{a.why} / {b.why}")
