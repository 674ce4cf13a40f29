"""Seen in: pandas#46365, arnio#712 (UnicodeDecodeError long after the read). Input: a CSV whose header has a Latin-1 umlaut. Right: one sentence, no traceback."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.csv", "id,gr\u00f6\u00dfe\n1,3\n2,4\n".encode("latin-1"))
    tell(not b.crashed, f"{b.verdict}: {b.why}")
