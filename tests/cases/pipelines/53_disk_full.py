"""metaflow/airflow style: the disk fills up while a step's result is written (here: a limit on the size of files); then there is room again."""

import kit

kit.inside()
import json, resource, subprocess, os

SRC = """
import numpy as np
from everloop import pipeline, step
@step
def work() -> np.ndarray:
    return np.zeros(2_000_000)
@step(cache=False)
def show(a: np.ndarray) -> None:
    print("GOT", len(a))
@pipeline
def flow() -> None:
    show(work())
"""
root = kit.project(SRC)
kit.cli(root, "runs")
import signal


def limit():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))


done = kit.cli(root, "run", "flow", preexec_fn=limit)
left = [str(p) for p in root.rglob("*") if p.is_file() and p.stat().st_size > 1_000_000]
again = kit.cli(root, "run", "flow")
runs = json.loads(kit.cli(root, "runs", "--json").stdout)
runs = runs if isinstance(runs, list) else runs["runs"]
kit.verdict(
    done.returncode == 1
    and "Traceback" not in done.stderr
    and not left
    and "GOT 2000000" in again.stdout
    and [r["state"] for r in runs] == ["COMPLETE", "FAIL"],
    f"{kit.oneline(done.stderr, 200)}; left {left}; again {'GOT' in again.stdout}; {[r['state'] for r in runs]}",
)
