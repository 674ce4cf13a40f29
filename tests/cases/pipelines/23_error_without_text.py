"""cosmic-ray#377 (an exception that cannot be recorded): a step raises an error whose text cannot be made."""

import kit

kit.inside()
import json

SRC = """
from everloop import pipeline, step
class Bad(Exception):
    def __init__(self, code): self.code = code
    def __str__(self): return "code " + self.code      # fails when code is a number
@step(cache=False)
def work() -> int:
    raise Bad(7)
@pipeline
def flow() -> None:
    work()
"""
root = kit.project(SRC)
done = kit.cli(root, "run", "flow")
runs = json.loads(kit.cli(root, "runs", "--json").stdout)
runs = runs if isinstance(runs, list) else runs["runs"]
worker = kit.cli(root, "worker", "--once")
kit.verdict(
    runs[0]["state"] == "FAIL",
    f"state {runs[0]['state']}; {kit.oneline(done.stderr[-300:])}; then a worker: rc {worker.returncode} {kit.oneline(worker.stderr[-150:])}",
)
