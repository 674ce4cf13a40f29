"""Seen in: arnio#712; evidently#1480 (one bad column ends the whole report).
Input: `everloop up` with two datasets; the first one's folder has a Latin-1 JSON-lines file. Right: the second dataset's file arrives (controller.tick: 'every part gets its turn').
"""

from _case import *

SOURCE = """
import pyarrow as pa
from everloop import Dataset, pipeline, step
notes = Dataset("notes", keys="id", event_time=None, files="notes/*.jsonl")
sales = Dataset("sales", keys="id", event_time=None, files="sales/*.csv")

@step
def look(rows: pa.Table) -> int:
    return rows.num_rows

@pipeline
def go() -> None:
    look(sales.rows)
"""
with project(SOURCE, toml="[worker]\npoll_seconds = 0.3\n") as p:
    p.write("notes/a.jsonl", '{"id":1,"city":"K\u00f6ln"}\n'.encode("latin-1"))
    p.write("sales/a.csv", "id,x\n1,2.5\n")
    up = subprocess.Popen(
        [BIN, "up"], cwd=p.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    time.sleep(8)
    arrived = len(p.batches("sales"))
    up.send_signal(signal.SIGINT)
    err = up.communicate(timeout=30)[1]
    tell(
        arrived == 1,
        f"sales has {arrived} batches; {'traceback in the log' if 'Traceback' in err else 'no traceback'}",
    )
