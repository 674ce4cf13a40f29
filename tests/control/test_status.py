"""Where everything stands: the newest few of each, found without reading all that there was."""

from __future__ import annotations

from everloop.control.data import list_datasets
from everloop.control.history import list_events
from everloop.control.status import get_status
from everloop.metadata.runs import list_runs
from everloop.monitoring.watch import list_windows
from everloop.rollout.endpoints import list_rollouts
from everloop.storage import ledger
from everloop.storage.workspace import Workspace
from tests.support.history import fill
from tests.support.work import counting


def read(workspace: Workspace) -> int:
    """How many rows the page about everything reads, and the page of the newest events."""
    with counting(workspace.database) as work:
        get_status(workspace)
        list_datasets(workspace)
        list_events(workspace, ["drift.detected", "step.completed"], limit=5)
        list_events(workspace, limit=5)
    return work.rows


def test_the_pages_read_the_same_few_rows_whatever_has_happened(
    two_workspaces: tuple[Workspace, Workspace],
) -> None:
    """After ten of everything, and after two thousand."""
    few, many = two_workspaces
    fill(few, 10, pipeline="main", dataset="rows")
    fill(many, 500, pipeline="main", dataset="rows")
    assert read(few) == read(many) < 50


def test_the_newest_few_are_those_of_all(workspace: Workspace) -> None:
    """Held against whoever reads everything."""
    fill(workspace, 10, pipeline="main", dataset="rows")
    status, (summary,) = get_status(workspace), list_datasets(workspace)
    with workspace.database.read() as tx:
        assert list(status.runs) == list_runs(tx)[:5]
        assert list(status.rollouts) == list_rollouts(tx)[-5:]
        assert list(status.monitors) == list(({w.monitor: w for w in list_windows(tx)}).values())
        every, chosen = ledger.read(tx), ledger.read(tx, types=["drift.detected", "step.completed"])
    assert summary.verdicts == {"retrain": 10, "stop": 10}
    assert list_events(workspace, limit=7) == every[-7:]
    assert list_events(workspace) == every and list_events(workspace, after=every[2].seq) == every[3:]
    assert list_events(workspace, ["drift.detected", "step.completed"], limit=7) == chosen[-7:]
    assert list_events(workspace, limit=2, after=every[-2].seq) == every[-1:]
