"""Seen in: no report found (checks of the number of rows). Input: a first batch with a year (36,500 rows), then days of 100. Right: days can arrive: after the first is told, the next ones must not be kept out for ever (there is no release)."""

from _case import *

import numpy as np

rng = np.random.default_rng(2)
with project(dataset()) as p:
    p.append("rows", "year.parquet", pa.table({"id": np.arange(36_500), "x": rng.normal(0, 1, 36_500)}))
    days = [
        p.append(
            "rows",
            f"{k}.parquet",
            pa.table({"id": np.arange(100) + 36_500 + 100 * k, "x": rng.normal(0, 1, 100)}),
        )
        for k in range(4)
    ]
    tell(days[-1].accepted, f"days: {[d.verdict for d in days]} {days[-1].why}")
