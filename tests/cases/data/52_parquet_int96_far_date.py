"""Seen in: apache/arrow#44112, aws-sdk-pandas PR 3358 (9999-12-31 in INT96, as Spark writes it, wraps around). Right: read as it is (milli- or microseconds hold it), or a sentence with the real date in it."""

from _case import *

t = pa.table(
    {"id": [1, 2], "valid_to": pa.array([datetime(2024, 1, 5), datetime(9999, 12, 31)], pa.timestamp("us"))}
)
with project(dataset(), dump="rows") as p:
    b = p.append("rows", "a.parquet", t, use_deprecated_int96_timestamps=True)
    if not b.accepted:
        tell(not b.crashed and "9999" in b.why, f"{b.verdict}: {b.why}")
    tell(str(p.rows()["valid_to"].to_pylist()[1]).startswith("9999"), str(p.rows().to_pydict()))
