"""aws-flow-ruby#78: Ctrl-C during a step; then the next run must go through, and nothing stays RUNNING."""

import kit

kit.inside()
import json, signal, time

SRC = """
import pathlib, time
from everloop import pipeline, step
here = pathlib.Path(__file__).parent
@step
def first() -> int:
    (here / "count").write_text((here / "count").read_text() + "x" if (here / "count").exists() else "x"); return 1
@step
def second(n: int) -> int:
    if not (here / "began").exists():
        (here / "began").touch(); time.sleep(30)
    return n + 1
@pipeline
def flow() -> None:
    second(first())
"""
root = kit.project(SRC)
child = kit.start(root, "run", "flow")
for _ in range(300):
    if (root / "began").exists():
        break
    time.sleep(0.1)
time.sleep(0.2)
child.send_signal(signal.SIGINT)
out, err = child.communicate(timeout=30)
again = kit.cli(root, "run", "flow")
runs = json.loads(kit.cli(root, "runs", "--json").stdout)
runs = runs if isinstance(runs, list) else runs["runs"]
states = [r["state"] for r in runs]
kit.verdict(
    child.returncode == 130
    and sorted(states) == ["ABORT", "COMPLETE"]
    and (root / "count").read_text() == "x",
    f"rc {child.returncode}, {states}, first ran {(root / 'count').read_text()}; {kit.oneline(err, 200)}",
)
