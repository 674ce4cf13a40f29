"""Seen in: no report found (a struct without fields cannot be written to Parquet). Input: an object that is empty in every row. Right: one sentence or a stored column; no traceback."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.jsonl", '{"id":1,"extra":{}}\n{"id":2,"extra":{}}\n')
    tell(not b.crashed, f"{b.verdict}: {b.why}")
