"""Seen in: whylogs#700, evidently#187. Input: 30 % of a number infinite where none was. Right: quarantine."""

from _case import *

import numpy as np

rng = np.random.default_rng(2)
with project(dataset()) as p:
    for k in range(3):
        p.append(
            "rows", f"{k}.parquet", pa.table({"id": np.arange(200) + 200 * k, "x": rng.normal(0, 1, 200)})
        )
    x = rng.normal(0, 1, 200)
    x[:60] = np.inf
    b = p.append("rows", "inf.parquet", pa.table({"id": np.arange(200) + 900, "x": x}))
    tell(b.verdict == "quarantine", f"{b.verdict}: {b.why}")
