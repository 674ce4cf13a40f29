"""Seen in: arnio#712 (invalid UTF-8 is accepted and fails later). Input: JSON lines in Latin-1. Right: one sentence, no traceback."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.jsonl", '{"id":1,"city":"K\u00f6ln"}\n'.encode("latin-1"))
    tell(not b.crashed, f"{b.verdict}: {b.why}")
