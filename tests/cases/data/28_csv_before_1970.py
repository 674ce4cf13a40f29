"""Seen in: no report looked up (negative epochs). Right: dates and times of 1899 to 1969 come back as they were."""

from _case import *

with project(dataset(), dump="rows") as p:
    p.append("rows", "a.csv", "id,d,t\n1,1899-12-31,1901-01-01 00:00:01\n2,1969-12-31,1969-12-31 23:59:59\n")
    got = p.rows()
    want = [["1899-12-31", "1969-12-31"], ["1901-01-01 00:00:01", "1969-12-31 23:59:59"]]
    tell([[str(v) for v in got[c].to_pylist()] for c in ("d", "t")] == want, str(got.to_pydict()))
