"""metaflow/dvc style (two at once): `everloop run` of one pipeline and of another one in two terminals at the same moment, and the same one twice."""

import kit

kit.inside()
import json

SRC = """
import time
from everloop import pipeline, step
@step
def slow(n: int) -> int:
    time.sleep(2); return n
@pipeline
def one(n: int = 1) -> None: slow(n)
@pipeline
def two(n: int = 1) -> None: slow(n)
"""
root = kit.project(SRC)
children = [kit.start(root, "run", p) for p in ("one", "two", "one")]
out = [c.communicate(timeout=60) for c in children]
codes = [c.returncode for c in children]
worker = kit.cli(root, "worker", "--once")
runs = json.loads(kit.cli(root, "runs", "--json").stdout)
runs = runs if isinstance(runs, list) else runs["runs"]
kit.verdict(
    sorted(codes) == [0, 0, 1] and all(r["state"] == "COMPLETE" for r in runs) and len(runs) == 3,
    f"codes {codes}; {[(r['pipeline'], r['state']) for r in runs]}; {[kit.oneline(e, 120) for o, e in out if e]}",
)
