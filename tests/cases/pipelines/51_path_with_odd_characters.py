"""delta-rs#1156, #1391, #1299: a project's folder with a space, %20, #, [ ], ' and letters that are not ASCII."""

import kit

kit.inside()
import json, tempfile

SRC = """
import pyarrow as pa
from everloop import Dataset, pipeline, step
rows = Dataset("rows", keys=["id"], event_time="at", files="data in/*.csv")
@step
def work(t: pa.Table) -> int:
    return t.num_rows
@step(cache=False)
def show(n: int) -> None:
    print("GOT", n)
@pipeline
def flow() -> None:
    show(work(rows.rows))
"""
bad = []
for name in ("my proj", "a%20b", "a#b", "a?b=c", "[proj]", "it's", "приклад é", "a+b&c", "x;y"):
    base = tempfile.mkdtemp(prefix="case_") + "/" + name
    root = kit.project(
        SRC, {"data in/a b#1.csv": "id,at\n1,2025-01-01T00:00:00Z\n2,2025-01-02T00:00:00Z\n"}, base=base
    )
    done = kit.cli(root, "run", "flow")
    kit.put(root, "data in/a%20c.csv", "id,at\n3,2025-01-03T00:00:00Z\n")
    two = kit.cli(root, "run", "flow")
    data = kit.cli(root, "datasets", "rows", "--json")
    if "rename the folder" in done.stderr:
        print("refused, with the next step:", name)
        continue
    if "GOT 2" not in done.stdout or "GOT 3" not in two.stdout:
        bad.append((name, kit.oneline(done.stderr + two.stderr, 200)))
kit.verdict(not bad, bad or "all nine")
