"""Seen in: feast PR 1475, pandas#56631 (offsets). Input: two instants around the spring change in New York, with offsets. Right: the same instants in UTC."""

from _case import *

with project(dataset(event_time='"at"'), dump="rows") as p:
    b = p.append("rows", "a.csv", "id,at\n1,2024-03-10T01:59:59-05:00\n2,2024-03-10T03:00:00-04:00\n")
    got = [t.isoformat() for t in p.rows()["at"].to_pylist()]
    tell(got == ["2024-03-10T06:59:59+00:00", "2024-03-10T07:00:00+00:00"], f"{got}")
