"""kestra#2653, argo-workflows#8680: a step that kills its own process (memory, a native library) with `everloop run`, `worker` and again."""

import kit

kit.inside()
import json

SRC = """
import os, signal, pathlib
from everloop import pipeline, step
here = pathlib.Path(__file__).parent
@step
def first() -> int:
    with (here / "first").open("a") as f: f.write("x")
    return 1
@step
def second(n: int) -> int:
    with (here / "second").open("a") as f: f.write("x")
    if len((here / "second").read_text()) < 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return n + 1
@pipeline
def flow() -> None:
    second(first())
"""
root = kit.project(SRC)
codes = [kit.cli(root, "run", "flow").returncode]
codes += [kit.cli(root, "worker", "--once").returncode for _ in range(2)]
runs = json.loads(kit.cli(root, "runs", "--json").stdout)
runs = runs if isinstance(runs, list) else runs["runs"]
kit.verdict(
    [r["state"] for r in runs] == ["COMPLETE"] and (root / "first").read_text() == "x",
    f"codes {codes}, {[r['state'] for r in runs]}, first ran {(root / 'first').read_text()}",
)
