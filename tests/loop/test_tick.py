"""What a look costs: as much after ten thousand runs as after a hundred, because nothing is read that was read before."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
from sqlalchemy import select

from everloop.loop.controller import Controller
from everloop.loop.firings import list_firings
from everloop.loop.triggers import Triggers, on_decay, on_drift, on_new_data, on_schedule
from everloop.metadata.runs import list_open_runs
from everloop.monitoring.monitors import DriftMonitor, PerformanceMonitor
from everloop.pipelines.pipeline import pipeline
from everloop.pipelines.steps import step
from everloop.records.datasets import Dataset
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.endpoint import Endpoint
from everloop.storage.schema import batches
from everloop.storage.workspace import Workspace
from tests.support.history import fill
from tests.support.work import Work, counting

rows = Dataset("rows", keys="id", event_time=None, files="data/*.csv")
endpoint = Endpoint("late", model=RegisteredModel("late"))
performance = PerformanceMonitor("late_performance", endpoint, worse_by=0.1, window=timedelta(hours=1))
inputs = DriftMonitor("late_inputs", endpoint, window=timedelta(hours=1))


@step
def count(table: pa.Table) -> int:
    """Count."""
    return len(table)


@pipeline
def main() -> None:
    """Reads the rows."""
    count(rows.rows)


def controller(workspace: Workspace) -> Controller:
    """Of everything that a project can declare."""
    reasons = (
        on_schedule("0 6 * * *"),
        on_new_data(rows, rows=50, or_changed=True),
        on_decay(performance),
        on_drift(inputs),
    )
    return Controller(
        workspace=workspace,
        datasets=[rows],
        pipelines=[main],
        endpoints=[endpoint],
        monitors=[performance, inputs],
        triggers=[Triggers(main, *reasons)],
    )


def settled(workspace: Workspace, happened: int) -> Work:
    """What a look costs that ends nothing, in a workspace where so much has happened."""
    fill(workspace, happened, pipeline="main", dataset="rows")
    one = controller(workspace)
    for _ in range(2 + happened // 400):
        one.tick()  # the first ones go through the alarms of a ledger that has no cursor yet
    with workspace.database.read() as tx:
        assert list_open_runs(tx, "main") == []
        assert len(list_firings(tx)) == 2 * happened
    with counting(workspace.database) as work:
        one.tick()
    return work


def test_a_look_costs_the_same_whatever_has_happened(two_workspaces: tuple[Workspace, Workspace]) -> None:
    """So many statements that give so many rows, and on SQLite so many steps; no reason of an old ledger fires again."""
    few, many = settled(two_workspaces[0], 10), settled(two_workspaces[1], 1_000)
    assert many == few
    assert few.statements > 10 and few.rows < 20, "it is counted, and nearly nothing is read"


def test_rows_that_are_passed_over_are_counted(two_workspaces: tuple[Workspace, Workspace]) -> None:
    """A query without an index shows in SQLite's steps, though it gives no row."""
    steps = []
    for workspace, happened in zip(two_workspaces, (10, 1_000), strict=True):
        fill(workspace, happened, pipeline="main", dataset="rows")
        with counting(workspace.database) as work, workspace.database.read() as tx:
            assert tx.execute(select(batches.c.key).where(batches.c.profile == "none")).all() == []
        steps.append(work.steps)
    assert steps[1] > 20 * steps[0] or not two_workspaces[0].database.is_sqlite
