"""Seen in: TFDV#4, pandas categoricals. Input: the columns in another order, the text as a dictionary with a null. Right: fits, values in their own columns."""

from _case import *

with project(dataset(), dump="rows") as p:
    p.append("rows", "a.parquet", pa.table({"id": [1, 2], "n": [1, 2], "s": ["a", "b"]}))
    b = p.append(
        "rows",
        "b.parquet",
        pa.table({"s": pa.array(["c", None]).dictionary_encode(), "n": [3, 4], "id": [5, 6]}),
    )
    got = p.rows().slice(2).to_pydict()
    tell(b.accepted and got == {"id": [5, 6], "n": [3, 4], "s": ["c", None]}, f"{b.verdict} {b.why} {got}")
