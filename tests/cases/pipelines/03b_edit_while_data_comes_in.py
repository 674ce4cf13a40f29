"""rocketride-server#2090 (same kind), without any sleep: the first `everloop run` takes in many files; the module is edited meanwhile."""

import kit

kit.inside()
import time

SRC = """
import pyarrow as pa
from everloop import Dataset, pipeline, step
rows = Dataset("rows", keys=["id"], event_time="at", files="data/*.csv")
FACTOR = 1
@step
def work(t: pa.Table) -> int:
    return t.num_rows * FACTOR
@step(cache=False)
def show(n: int) -> None:
    print("GOT", n)
@pipeline
def flow() -> None:
    show(work(rows.rows))
"""
n = 60
root = kit.project(
    SRC, {f"data/{i:03}.csv": f"id,at\n{i},2025-01-01T00:{i // 60:02}:{i % 60:02}Z\n" for i in range(n)}
)
child = kit.start(root, "run", "flow")
for _ in range(600):
    if (root / ".everloop/tables/rows").exists():
        break  # it has begun to take in files
    time.sleep(0.02)
kit.put(root, "proj.py", SRC.replace("FACTOR = 1", "FACTOR = 1000"))
out, err = child.communicate(timeout=120)
again = kit.cli(root, "run", "flow")
got = [[l.split()[-1] for l in o.splitlines() if "GOT" in l] for o in (out, again.stdout)]
kit.verdict(
    got[1] == [str(n * 1000)],
    f"the file says {n * 1000}; the run during the edit: {got[0]}; the run after it: {got[1]} {kit.oneline(err + again.stderr, 200)}",
)
