"""Seen in: apache/arrow#43574, hats#367 (a folder named key=value adds a column or ends in an error). Input: data/month=2024-01/a.parquet with a text column month. Right: the file's own columns."""

from _case import *

with project(dataset(), dump="rows") as p:
    b = p.append("rows", "data/month=2024-01/a.parquet", pa.table({"id": [1, 2], "month": ["2024-01"] * 2}))
    c = p.append("rows", "data/year=2024/b.parquet", pa.table({"id": [3], "month": ["x"]}))
    tell(
        b.accepted and c.accepted and p.rows().column_names == ["id", "month"],
        f"{b.verdict} {c.verdict} {c.why}",
    )
