"""Seen in: no report found (order of struct fields). Input: the same nested object, its keys in another order. Right: the same columns; the order is free (schema.differences)."""

from _case import *

with project(dataset()) as p:
    p.append("rows", "a.jsonl", '{"id":1,"m":{"note":"a","k":1}}\n')
    b = p.append("rows", "b.jsonl", '{"id":2,"m":{"k":2,"note":"b"}}\n')
    tell(b.accepted, f"{b.verdict}: {b.why}")
