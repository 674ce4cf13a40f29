"""dagster/prefect style (a worker takes work that it has no code for): two projects share a storage folder; the worker of one must not end the runs of the other."""

import kit

kit.inside()
import json, tempfile, time

base = tempfile.mkdtemp(prefix="case_")
kit._DIRS.append(base)
SRC = """
import pathlib, time
from everloop import pipeline, step
here = pathlib.Path(__file__).parent
@step(cache=False)
def work() -> int:
    if not (here / "began").exists():
        (here / "began").touch(); time.sleep(30)
    return 1
@pipeline
def {name}() -> None: work()
"""
a, b = (
    kit.project(SRC.format(name=n), toml='[storage]\nfolder = "../store"', base=f"{base}/{n}")
    for n in ("alpha", "beta")
)
child = kit.start(b, "run", "beta")
for _ in range(300):
    if (b / "began").exists():
        break
    time.sleep(0.05)
time.sleep(0.2)
child.kill()
child.wait()
kit.cli(a, "worker", "--once")
runs = json.loads(kit.cli(b, "runs", "--json").stdout)
runs = runs if isinstance(runs, list) else runs["runs"]
after_a = (runs[0]["state"], runs[0].get("error"))
kit.cli(b, "worker", "--once")
runs = json.loads(kit.cli(b, "runs", "--json").stdout)
runs = runs if isinstance(runs, list) else runs["runs"]
kit.verdict(
    runs[0]["state"] == "COMPLETE",
    f"after the other project's worker: {after_a}; after its own: {runs[0]['state']}",
)
