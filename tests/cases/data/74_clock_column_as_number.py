"""Seen in: dex#204 (epochs in integer columns). Input: monthly batches with a column updated_at in epoch seconds, unsorted. Right: a clock goes forward; not 'implausible' for ever."""

from _case import *

import numpy as np

rng = np.random.default_rng(2)
with project(dataset()) as p:
    got = [
        p.append(
            "rows",
            f"{k}.parquet",
            pa.table(
                {
                    "id": np.arange(200) + 200 * k,
                    "updated_at": 1_700_000_000 + k * 2_592_000 + rng.integers(0, 604_800, 200),
                }
            ),
        )
        for k in range(4)
    ]
    tell(got[-1].accepted, f"months: {[g.verdict for g in got]} {got[-1].why}")
