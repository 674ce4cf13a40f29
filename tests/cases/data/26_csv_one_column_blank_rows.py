"""Seen in: no report found (pyarrow drops empty lines by default). Input: one column, five rows, two of them empty. Right: five rows, two of them null."""

from _case import *

with project(dataset(keys="()"), dump="rows") as p:
    b = p.append("rows", "a.csv", "x\n1\n\n3\n\n5\n")
    tell(b.accepted and b.record["rows"] == 5, f"{b.record.get('rows')} of 5 rows {b.why}")
