"""Seen in: evidently#1480, #330 (a column without values crashes the comparison). Input: all NaN in the first batch, values later. Right: no crash, accepted."""

from _case import *

import numpy as np

rng = np.random.default_rng(2)
with project(dataset()) as p:
    p.append("rows", "a.parquet", pa.table({"id": np.arange(200), "x": np.full(200, np.nan)}))
    b = p.append("rows", "b.parquet", pa.table({"id": np.arange(200) + 200, "x": rng.normal(0, 1, 200)}))
    tell(b.accepted, f"{b.verdict}: {b.why}")
