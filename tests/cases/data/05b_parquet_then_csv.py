"""Seen in: TFDV#95, pandera#2021 (types that a text file cannot tell). Input: a dataset begun with Parquet (int32, float32, decimal, bool, date, instant), then a CSV with the same columns. Right: the dataset knows the types; the values fit them."""

from _case import *

from datetime import date
from decimal import Decimal

t = pa.table(
    {
        "id": [1, 2],
        "n": pa.array([1, 2], pa.int32()),
        "f": pa.array([1.5, 2.5], pa.float32()),
        "price": pa.array([Decimal("1.50"), Decimal("2.25")], pa.decimal128(10, 2)),
        "on": [True, False],
    }
)
with project(dataset(), dump="rows") as p:
    p.append("rows", "a.parquet", t)
    b = p.append("rows", "b.csv", "id,n,f,price,on\n3,4,5.5,6.50,true\n")
    tell(b.accepted, f"{b.verdict}: {b.why}")
