"""What it costs to make a step durable, against the least that durability can cost on this disk.

The floor is one committed SQLite transaction and one fsynced file per step, written by hand in the same folder.
Run: python benchmarks/pipelines/durable_step.py --steps 50
"""

import argparse
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from everloop.loop.firings import run_on_demand
from everloop.pipelines.engine import silent
from everloop.pipelines.pipeline import Pipeline
from everloop.pipelines.steps import step
from everloop.pipelines.worker import Worker
from everloop.records.runs import RunState
from everloop.settings import Settings
from everloop.storage.workspace import Workspace, open_workspace


@step
def add_one(value: int) -> int:
    """As little work as a step can do."""
    return value + 1


def chain(length: int) -> Pipeline:
    """A pipeline of so many steps in a row; `start` makes its keys new."""

    def steps_in_a_row(start: int = 0) -> None:
        value = start
        for _ in range(length):
            value = add_one(value)

    return Pipeline(steps_in_a_row)


def run(workspace: Workspace, worker: Worker, pipeline: Pipeline, start: int, key: str) -> float:
    """Seconds of one run."""
    with workspace.database.write() as tx:
        run_on_demand(
            tx,
            workspace,
            pipeline=pipeline.name,
            params={"start": start},
            who="benchmark",
            reason="measured",
            key=key,
        )
    began = time.perf_counter()
    ended = worker.run_next()
    assert ended is not None and ended.state is RunState.COMPLETE, ended
    return time.perf_counter() - began


def floor(folder: Path, length: int) -> float:
    """Seconds of the same number of committed rows and fsynced files."""
    database = sqlite3.connect(folder / "floor.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS steps (name TEXT, digest TEXT)")
    began = time.perf_counter()
    for number in range(length):
        path = folder / f"floor-{number}"
        with path.open("wb") as file:
            file.write(str(number).encode())
            file.flush()
            os.fsync(file.fileno())
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO steps VALUES (?, ?)", (f"step {number}", str(number)))
        database.execute("COMMIT")
    seconds = time.perf_counter() - began
    database.close()
    return seconds


def best(measure: Callable[[int], float], repeats: int) -> float:
    """The fastest of several, which is the one that was disturbed least."""
    return min(measure(number) for number in range(repeats))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = open_workspace(Settings(root=folder, module="benchmark"))
        pipeline = chain(given.steps)
        worker = Worker(workspace, {pipeline.name: pipeline}, progress=silent)
        fresh = best(
            lambda n: run(workspace, worker, pipeline, 1_000_000 * (n + 1), f"fresh-{n}"), given.repeats
        )
        cached = best(lambda n: run(workspace, worker, pipeline, 1_000_000, f"cached-{n}"), given.repeats)
        least = best(lambda n: floor(folder, given.steps), given.repeats)
        worker.close()
        workspace.close()
    per = 1000 / given.steps
    print(f"floor   {least * per:7.2f} ms a step: one transaction and one fsynced file")
    print(f"fresh   {fresh * per:7.2f} ms a step, {fresh / least:.2f} × the floor")
    print(f"cached  {cached * per:7.2f} ms a step, {cached / least:.2f} × the floor")


if __name__ == "__main__":
    main()
