"""rocketride-server#2090 (same kind): a helper is edited while `everloop worker` is still importing the module that uses it."""

import kit

kit.inside()
import time

SRC = """
import pathlib, time
from everloop import pipeline, step
from helpers import size
here = pathlib.Path(__file__).parent
(here / "loading").touch()
if (here / "slow").exists():
    time.sleep(3)                                 # a module that takes its time, as one that imports torch
@step
def work() -> int:
    return size()
@step(cache=False)
def show(n: int) -> None:
    print("GOT", n)
@pipeline
def flow() -> None:
    show(work())
"""
root = kit.project(SRC, {"helpers.py": "def size():\n    return 1\n"})
run = kit.start(root, "run", "flow")
run.wait()
import json, sqlite3

# a run that waits: ask for one and kill its process at once
kit.put(root, "slow", "")
kit.put(root, "helpers.py", "def size():\n    return 3\n")
first = kit.start(root, "worker", "--json")
lines = kit.Lines(first)
lines.until(lambda g: g.get("type") == "working", 60)
(root / "loading").unlink(missing_ok=True)
kit.stop(first)
child = kit.start(root, "worker", "--json")
lines = kit.Lines(child)
for _ in range(300):
    if (root / "loading").exists():
        break
    time.sleep(0.05)
time.sleep(0.3)
kit.put(root, "helpers.py", "def size():\n    return 4\n")
lines.until(lambda g: g.get("type") == "working", 60)
(root / "slow").unlink()
again = kit.cli(root, "run", "flow")
got = [l.split()[-1] for l in again.stdout.splitlines() if "GOT" in l]
lines.until(lambda g: False, 2)
kit.stop(child)
last = kit.cli(root, "run", "flow")
got2 = [l.split()[-1] for l in last.stdout.splitlines() if "GOT" in l]
kit.verdict(got in (["4"], []) and got2 == ["4"], f"the file says 4: {got}, {got2}")
