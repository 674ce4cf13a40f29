"""metaflow/prefect style: a step that uses multiprocessing by spawn and forkserver, joblib processes, threads and a subprocess that prints; resolwe#289: what is printed must not break --json."""

import kit

kit.inside()
import json

SRC = """
import multiprocessing, os, subprocess, sys, warnings, logging
from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor
from joblib import Parallel, delayed
from everloop import pipeline, step
def square(n):
    return n * n
@step(cache=False)
def work() -> list[int]:
    got = []
    for way in ("spawn", "forkserver", "fork"):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(way)) as pool:
            got.append(sum(pool.map(square, range(4))))
    got.append(sum(Parallel(n_jobs=2)(delayed(square)(n) for n in range(4))))
    with ThreadPoolExecutor(2) as pool:
        got.append(sum(pool.map(square, range(4))))
    os.system("echo from a shell; echo to err >&2")
    os.write(1, b"raw bytes \\xff\\n")
    print("{not json"); warnings.warn("careful"); logging.getLogger().warning("logged")
    sys.stdout.write("no newline")
    return got
@pipeline
def flow() -> None:
    work()
"""
root = kit.project(SRC)
done = kit.cli(root, "run", "flow", "--json", encoding="utf-8", errors="replace")
try:
    state = json.loads(done.stdout)["run"]["state"]
except ValueError:
    state = "not JSON: " + kit.oneline(done.stdout)
with kit.up(root) as (child, lines):
    lines.until(lambda g: g.get("type") == "up", 60)
    import subprocess

    ok2 = child.poll() is None
kit.verdict(
    state == "COMPLETE" and ok2, f"{state} {kit.oneline(done.stderr[-300:]) if state != 'COMPLETE' else ''}"
)
