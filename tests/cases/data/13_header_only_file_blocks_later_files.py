"""Seen in: great_expectations#2726/#7432 (empty data asset), delta-rs (empty partitions). Input: three daily CSVs, the middle one has a header and no rows. Right: the third day arrives; an empty day is told."""

from _case import *

SOURCE = dataset(more='files="data/*.csv"')
with project(SOURCE, dump="rows") as p:
    for day, body in {"01": "1,2.5\n", "02": "", "03": "2,3.5\n"}.items():
        p.write(f"data/2024-01-{day}.csv", "id,x\n" + body)
    told = p.run("run", "dump")
    rows = sum(b["rows"] for b in p.batches("rows") if b["version"] is not None)
    tell(rows == 2, f"{rows} of 2 rows arrived; {told.said}")
