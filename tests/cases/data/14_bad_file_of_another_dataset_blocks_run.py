"""Seen in: evidently#1480 (everything fails for one part). Input: a pipeline that reads `sales`; the folder of the unrelated dataset `logs` has a file of 0 bytes. Right: the run of the pipeline goes on, the bad file is told."""

from _case import *

SOURCE = """
import pyarrow as pa
from everloop import Dataset, pipeline, step
logs = Dataset("logs", keys="id", event_time=None, files="logs/*.csv")
sales = Dataset("sales", keys="id", event_time=None, files="sales/*.csv")

@step
def look(rows: pa.Table) -> int:
    return rows.num_rows

@pipeline
def go() -> None:
    look(sales.rows)
"""
with project(SOURCE) as p:
    p.write("logs/a.csv", "")
    p.write("sales/a.csv", "id,x\n1,2.5\n")
    told = p.run("run", "go")
    tell(told.code == 0, f"code {told.code}: {told.said}")
