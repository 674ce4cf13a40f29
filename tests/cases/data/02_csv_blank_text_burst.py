"""Seen in: evidently#187, deepchecks#1841 (a burst of missing values must weigh), great_expectations#1535.
Input: three CSV batches with 1 % blanks in a text column, then one with 90 %. Right: quarantine, a burst of nulls (README: data gate).
"""

from _case import *

import random

rng = random.Random(3)


def batch(n: int, blank: float) -> str:
    return "id,city,x\n" + "".join(
        f"{i},{'' if rng.random() < blank else rng.choice('ABCD')},{rng.random():.4f}\n" for i in range(n)
    )


with project(dataset()) as p:
    for k in range(3):
        p.append("rows", f"{k}.csv", batch(500, 0.01))
    b = p.append("rows", "burst.csv", batch(500, 0.90))
    tell(b.verdict == "quarantine", f"city is blank in 90 % of rows, 1 % before: {b.verdict} {b.why}")
