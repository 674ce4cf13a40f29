"""argo-workflows#8680/#8456 (zombie python children keep a run RUNNING), skhd#83, aws-c-common PR#1192 (flock lives on in forked children): a worker is killed (OOM) while a step has a multiprocessing pool."""

import kit

kit.inside()
import json, os, signal, time

SRC = """
import multiprocessing, os, pathlib, time
from everloop import pipeline, step
here = pathlib.Path(__file__).parent
def slow(n):
    return n * n
@step(cache=False)
def work() -> int:
    if (here / "began").exists():
        return 42                                   # the second try is quick
    from concurrent.futures import ProcessPoolExecutor    # the default start method of Python 3.11 to 3.13 on Linux is fork
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(slow, range(4)))
        (here / "began").write_text(" ".join(str(p) for p in pool._processes))
        time.sleep(60)
        return 1
@pipeline
def flow() -> None:
    work()
"""
root = kit.project(SRC)
child = kit.start(root, "run", "flow")
for _ in range(300):
    if (root / "began").exists() and (root / "began").read_text():
        break
    time.sleep(0.1)
time.sleep(0.3)
child.kill()
child.wait()  # SIGKILL, as the kernel does when memory runs out
orphans = [int(p) for p in (root / "began").read_text().split()]
time.sleep(1)
alive = [p for p in orphans if os.path.exists(f"/proc/{p}")]
worker = kit.cli(root, "worker", "--once", timeout=60)
run = json.loads(kit.cli(root, "runs", "--json").stdout)
state = [r["state"] for r in (run if isinstance(run, list) else run["runs"])]
again = kit.cli(root, "run", "flow", timeout=60)
for p in alive:
    try:
        os.kill(p, signal.SIGKILL)
    except ProcessLookupError:
        pass
time.sleep(0.5)
after = kit.cli(root, "worker", "--once", timeout=60)
run2 = json.loads(kit.cli(root, "runs", "--json").stdout)
state2 = [r["state"] for r in (run2 if isinstance(run2, list) else run2["runs"])]
kit.verdict(
    state == ["COMPLETE"],
    f"worker killed, pool children alive: {len(alive)}; then `worker --once`: {kit.oneline(worker.stdout + worker.stderr, 120)!r}, state {state}; a new run: {kit.oneline(again.stderr, 200)!r}; after the children were killed too: {state2}",
)
