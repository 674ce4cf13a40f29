"""Seen in: great_expectations#6527 (values such as 0.1 do not match their own listing). Input: float32 rates 0.1 and 0.2, one_of(0.1, 0.2). Right: they are listed."""

from _case import *

t = pa.table({"id": [1, 2, 3], "rate": pa.array([0.1, 0.2, 0.1], pa.float32())})
with project(dataset(more='expect=[one_of("rate", 0.1, 0.2)]')) as p:
    b = p.append("rows", "a.parquet", t)
    tell(b.accepted, f"{b.verdict}: {b.why}")
