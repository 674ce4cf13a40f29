"""Seen in: apache/arrow#46853, csvkit#977, dataretrieval-python#311 (codes with leading zeros become numbers).
Input: postal codes 00501, 00502 in the first CSV. Right: they stay what they are, or the loss is told; here two different texts must not become numbers in silence.
"""

from _case import *

with project(dataset(), dump="rows") as p:
    b = p.append("rows", "a.csv", "id,zip\n1,00501\n2,00502\n3,10001\n")
    if not b.accepted:
        tell(not b.crashed, f"told: {b.why}")
    got = [str(v) for v in p.rows()["zip"].to_pylist()]
    tell(
        got == ["00501", "00502", "10001"] or "zip" in b.findings,
        f"zip 00501 is kept as {got[0]}, told: {b.findings or 'nothing'}",
    )
