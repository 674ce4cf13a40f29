"""Seen in: apache/arrow#46223, arrow#35806 (types are guessed from the first block). Input: 5 MB where a decimal and a text come in the last row only. Right: read."""

from _case import *

n = 400_000
with project(dataset()) as p:
    b = p.append(
        "rows", "a.csv", "id,x,note\n" + "".join(f"{i},{i % 90},\n" for i in range(n)) + f"{n},10.5,hello\n"
    )
    tell(b.accepted and b.record["rows"] == n + 1, f"{b.verdict} {b.why}")
