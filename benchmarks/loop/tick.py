"""What a look of the controller costs that ends nothing, after little has happened and after a hundred times as much.

    python benchmarks/loop/tick.py --few 100 --factor 100

What has happened is runs of every kind, alarms and other events, reasons, versions of a dataset with their files,
windows, rollouts and requests (`tests/support/history.py`). A look at a folder of files costs a look at each of them,
whatever the database does, so it stands apart, and so does the page of `everloop status`. Times are the fastest of several,
taken by turns: the ratios are what to read.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from everloop.control.history import list_events
from everloop.control.status import get_status
from everloop.data.files import collect
from everloop.loop.controller import Controller
from everloop.loop.triggers import Triggers, on_decay, on_drift, on_new_data, on_schedule
from everloop.monitoring.monitors import DriftMonitor, PerformanceMonitor
from everloop.pipelines.pipeline import pipeline
from everloop.pipelines.steps import step
from everloop.records.datasets import Dataset
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.endpoint import Endpoint
from everloop.settings import Settings, Storage
from everloop.storage.workspace import Workspace, open_workspace

NOW = datetime(2013, 1, 1, 12, tzinfo=UTC)
sys.path.insert(0, str(Path(__file__).parents[2]))  # for what the tests have made already

rows = Dataset("rows", keys="id", event_time=None, files="data/*.csv")
endpoint = Endpoint("late", model=RegisteredModel("late"))
performance = PerformanceMonitor("late_performance", endpoint, worse_by=0.1)
inputs = DriftMonitor("late_inputs", endpoint)


@step
def count(table: pa.Table) -> int:
    """Count."""
    return len(table)


@pipeline
def main_pipeline() -> None:
    """Reads the rows."""
    count(rows.rows)


def controller(workspace: Workspace) -> Controller:
    """Of two monitors and of one trigger of each kind."""
    reasons = (
        on_schedule("0 6 * * *"),
        on_new_data(rows, rows=50, or_changed=True),
        on_decay(performance),
        on_drift(inputs),
    )
    return Controller(
        workspace=workspace,
        datasets=[],
        pipelines=[main_pipeline],
        endpoints=[endpoint],
        monitors=[performance, inputs],
        triggers=[Triggers(main_pipeline, *reasons)],
    )


def prepared(workspace: Workspace, happened: int) -> Mapping[str, Callable[[], object]]:
    """What is done again and again, in a workspace where so much has happened."""
    from tests.support.history import fill

    fill(workspace, happened, pipeline=main_pipeline.name, dataset=rows.name)
    one = controller(workspace)
    for _ in range(2 + happened // 400):
        one.tick()  # the first ones go through a ledger that has no cursor yet
    return {
        "a look": one.tick,
        "its files": lambda: collect(workspace, rows),
        "status": lambda: get_status(workspace),
        "events": lambda: list_events(workspace, limit=50),
    }


def compare(acts: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Seconds of each, by turns and the fastest of several, which is the one that was disturbed least."""
    taken: list[list[float]] = [[] for _ in acts]
    for _ in range(repeats + 1):
        for act, times in zip(acts, taken, strict=True):
            began = time.perf_counter()
            act()
            times.append(time.perf_counter() - began)
    return [min(times[1:]) for times in taken]


@contextmanager
def places() -> Iterator[Mapping[str, Callable[[Path], Settings]]]:
    """Where a new workspace may be opened, on each database."""
    from tests.support.postgres import running

    with running() as server, ExitStack() as stack:

        def on_postgres(root: Path) -> Settings:
            storage = Storage(database=stack.enter_context(server.migrated()))
            return Settings(root=root, module="benchmark", storage=storage)

        yield {
            "SQLite": lambda root: Settings(root=root, module="benchmark"),
            "PostgreSQL": on_postgres,
        }


@contextmanager
def two_workspaces(place: Callable[[Path], Settings]) -> Iterator[list[Workspace]]:
    """Two that are empty, at one time of day."""
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(TemporaryDirectory())) for _ in range(2)]
        opened = [stack.enter_context(closing(open_workspace(place(folder)))) for folder in folders]
        yield [replace(workspace, now=lambda: NOW) for workspace in opened]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--factor", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=50)
    given = parser.parse_args()
    many = given.few * given.factor
    with places() as known:
        for name, place in known.items():
            with two_workspaces(place) as (one, other):
                done, done_after_more = prepared(one, given.few), prepared(other, many)
                for what in done:
                    before, after = compare([done[what], done_after_more[what]], given.repeats)
                    print(
                        f"{name:<11} {what:<10} {1000 * before:8.2f} ms after {given.few:,} of each, "
                        f"{1000 * after:8.2f} after {many:,}: {after / before:.2f} ×"
                    )


if __name__ == "__main__":
    main()
