"""Seen in: TFDV#63 (a number that is suddenly the same in all rows). Input: a first batch of one row (temp 0), five normal ones (temp about 150), then 300 rows that all say 150. Right: quarantine 'constant', as without the first row."""

from _case import *

import numpy as np


def go(first: bool) -> Batch:
    rng = np.random.default_rng(2)
    with project(dataset()) as p:
        if first:
            p.append("rows", "first.parquet", pa.table({"id": [0], "temp": [0.0]}))
        for k in range(5):
            p.append(
                "rows",
                f"{k}.parquet",
                pa.table({"id": np.arange(90) + 90 * k + 1, "temp": rng.normal(150, 10, 90)}),
            )
        return p.append(
            "rows", "stuck.parquet", pa.table({"id": np.arange(300) + 9000, "temp": np.full(300, 150.0)})
        )


with_first, without = go(True), go(False)
tell(
    with_first.verdict == "quarantine",
    f"with a first batch of one row: {with_first.verdict} {with_first.why}; without: {without.verdict} {without.why}",
)
