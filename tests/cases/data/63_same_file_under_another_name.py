"""Seen in: hopsworks-api PR 544 (repeated events double the rows of a Delta table). Input: keys='id'; the same bytes under two names. Right: not doubled in silence: known, or told."""

from _case import *

with project(dataset(more='files="data/*.csv"'), dump="rows") as p:
    body = "id,x\n" + "".join(f"{i},{i}.5\n" for i in range(50))
    p.write("data/jan.csv", body)
    p.write("data/jan (1).csv", body)
    p.run("run", "dump")
    told = [f["message"] for b in p.batches("rows") for f in b["findings"]]
    rows = p.rows()
    tell(rows.num_rows == 50 or bool(told), f"{rows.num_rows} rows for 50 ids; told: {told or 'nothing'}")
