"""dagster style (reload loop when generated code lies in the project): a step writes a .py file into the project's folder; the run is killed later and must be resumable, and the cache must still work."""

import kit

kit.inside()
import json, time

SRC = """
import os, pathlib, signal
from everloop import pipeline, step
here = pathlib.Path(__file__).parent
@step
def export() -> int:
    (here / "out").mkdir(exist_ok=True)
    (here / "out" / "scorer.py").write_text("def score(x):\\n    return x * 2\\n")       # m2cgen, protobuf, a report
    return 1
@step
def second(n: int) -> int:
    if not (here / "killed").exists():
        (here / "killed").touch(); os.kill(os.getpid(), signal.SIGKILL)
    return n + 1
@pipeline
def flow() -> None:
    second(export())
"""
root = kit.project(SRC)
kit.cli(root, "run", "flow")
worker = kit.cli(root, "worker", "--once")
runs = json.loads(kit.cli(root, "runs", "--json").stdout)
runs = runs if isinstance(runs, list) else runs["runs"]
kit.verdict(runs[0]["state"] == "COMPLETE", f"{runs[0]['state']}: {runs[0].get('error')}")
