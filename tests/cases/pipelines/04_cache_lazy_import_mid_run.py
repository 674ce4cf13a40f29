"""rocketride-server#2090 (same kind, other input): a module imported inside a step, edited while an earlier step runs; the result must not be kept under the code version that the run began with."""

import kit

kit.inside()
import time

SRC = """
import pathlib, time
from everloop import pipeline, step
here = pathlib.Path(__file__).parent
@step(cache=False)
def first() -> int:
    (here / "began").touch()
    if (here / "slow").exists():
        time.sleep(4)
    return 1
@step
def second(n: int) -> int:
    from lazy import size                     # many people import heavy things inside a step
    return n * size()
@step(cache=False)
def show(n: int) -> None:
    print("GOT", n)
@pipeline
def flow() -> None:
    show(second(first()))
"""
OLD, NEW = "def size():\n    return 10\n", "def size():\n    return 20\n"
root = kit.project(SRC, {"lazy.py": OLD, "slow": ""})
child = kit.start(root, "run", "flow")
for _ in range(300):
    if (root / "began").exists():
        break
    time.sleep(0.05)
kit.put(root, "lazy.py", NEW)
out, err = child.communicate(timeout=60)
(root / "slow").unlink()
kit.put(root, "lazy.py", OLD)  # git checkout: back to what the first run's record says it ran
again = kit.cli(root, "run", "flow")
got = [l.split()[-1] for l in again.stdout.splitlines() if "GOT" in l]
kit.verdict(
    got == ["10"],
    f"the file says 10; a fresh run says {got}; the run during the edit: {kit.oneline(out, 250)}",
)
