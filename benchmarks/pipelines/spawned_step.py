"""What it costs to have a step done by a process beside the worker, against the least that such a process can cost.

The floor of the first step is a fresh interpreter that imports the same; that of each step after it is the same step in
process. Run: python benchmarks/pipelines/spawned_step.py --steps 20
"""

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from everloop.loop.firings import run_on_demand
from everloop.pipelines.engine import silent
from everloop.pipelines.pipeline import Pipeline
from everloop.pipelines.worker import Worker
from everloop.records.runs import RunState
from everloop.settings import load_settings
from everloop.storage.workspace import Workspace, open_workspace

PROJECT = """
from everloop import pipeline, step

@step
def add_one(value: int) -> int:
    return value + 1

@pipeline
def once(start: int = 0) -> None:
    add_one(start)

@pipeline
def in_a_row(start: int = 0) -> None:
    value = start
    for _ in range(STEPS):
        value = add_one(value)
"""


def project(folder: Path, executor: str, steps: int) -> None:
    """Put a project there."""
    folder.mkdir()
    (folder / "adding.py").write_text(PROJECT.replace("STEPS", str(steps)))
    text = f'[project]\nmodule = "adding"\n[worker]\nexecutor = "{executor}"\n'
    (folder / "everloop.toml").write_text(text)


def run(workspace: Workspace, worker: Worker, pipeline: Pipeline, start: int) -> float:
    """Seconds of one run."""
    with workspace.database.write() as tx:
        run_on_demand(
            tx,
            workspace,
            pipeline=pipeline.name,
            params={"start": start},
            who="benchmark",
            reason="measured",
            key=f"{pipeline.name}-{start}",
        )
    began = time.perf_counter()
    ended = worker.run_next()
    assert ended is not None and ended.state is RunState.COMPLETE, ended
    return time.perf_counter() - began


def measure(folder: Path, repeats: int) -> tuple[float, float]:
    """Seconds of the only step of a new worker's first run, and of the steps in a row of its other runs."""
    sys.path.insert(0, str(folder))
    sys.modules.pop("adding", None)
    module = importlib.import_module("adding")
    workspace = open_workspace(load_settings(folder))
    pipelines = {"once": module.once, "in_a_row": module.in_a_row}
    firsts: list[float] = []
    others: list[float] = []
    for number in range(repeats):
        worker = Worker(workspace, pipelines, progress=silent)
        firsts.append(run(workspace, worker, module.once, 1_000_000 * (2 * number + 1)))
        others.append(run(workspace, worker, module.in_a_row, 1_000_000 * (2 * number + 2)))
        worker.close()
    workspace.close()
    sys.path.remove(str(folder))
    return min(firsts), min(others)


def fresh_interpreter(folder: Path) -> float:
    """Seconds until an interpreter has imported what does a step, and the project."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import everloop.pipelines.executors.interpreter, adding"
    )
    began = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", code, str(folder)], check=True)
    return time.perf_counter() - began


def best(measured: Callable[[], float], repeats: int) -> float:
    """The fastest of several, which is the one that was disturbed least."""
    return min(measured() for _ in range(repeats))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        here, beside = Path(name) / "in_process", Path(name) / "process"
        project(here, "in_process", given.steps)
        project(beside, "process", given.steps)
        _, in_process = measure(here, given.repeats)
        first, warm = measure(beside, given.repeats)
        floor = best(lambda: fresh_interpreter(beside), given.repeats)
    per = 1000 / given.steps
    print(f"floor   {floor * 1000:8.1f} ms: a fresh interpreter that imports the same")
    print(f"first   {first * 1000:8.1f} ms, {first / floor:.2f} × the floor")
    print(f"here    {in_process * per:8.1f} ms a step in process")
    print(
        f"warm    {warm * per:8.1f} ms a step in a process that is there, {warm / in_process:.2f} × in process"
    )


if __name__ == "__main__":
    main()
