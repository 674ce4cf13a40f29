"""Seen in: feast PR 1466 (tz-naive), apache/arrow#41268. Input: event_time='at'; a CSV where some times have an offset and some have none, so the column is text. Right: the gate says that the event time is no time."""

from _case import *

with project(dataset(event_time='"at"')) as p:
    b = p.append("rows", "a.csv", "id,at\n1,2024-03-10T01:30:00-05:00\n2,2024-03-10T03:30:00\n")
    tell(not b.accepted or "at" in b.findings, f"{b.verdict} {b.why or 'without a word'}")
