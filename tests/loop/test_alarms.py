"""Alarms climb as rows of the ledger: each becomes one reason, whatever dies on the way, and none is read twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import get_args

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from everloop.loop.controller import Controller
from everloop.loop.firings import list_firings
from everloop.loop.kinds import TRIGGERS
from everloop.loop.triggers import Trigger, Triggers, on_drift
from everloop.monitoring.monitors import DriftMonitor
from everloop.pipelines.pipeline import pipeline
from everloop.pipelines.steps import step
from everloop.records.datasets import Dataset
from everloop.records.events import EventType
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.endpoint import Endpoint
from everloop.storage import ledger
from everloop.storage.schema import cursors
from everloop.storage.workspace import Workspace
from tests.support.work import counting

_numbers = count()
endpoint = Endpoint("late", model=RegisteredModel("late"))
rows = Dataset("rows", keys="id", event_time=None)


@step
def measure(table: pa.Table) -> int:
    """Measure."""
    return len(table)


@pipeline
def main() -> None:
    """Reads the rows."""
    measure(rows.rows)


def controller(workspace: Workspace, monitor: str) -> Controller:
    """A controller that waits for the alarms of one monitor."""
    triggers = Triggers(main, on_drift(DriftMonitor(monitor, endpoint)))
    return Controller(
        workspace=workspace, datasets=[], pipelines=[main], endpoints=[], monitors=[], triggers=[triggers]
    )


def ring(workspace: Workspace, monitor: str, *keys: str) -> None:
    """A monitor raises alarms."""
    with workspace.database.write() as tx:
        for key in keys:
            told = {"because": key}
            ledger.append(
                tx, workspace.event(EventType.DRIFT_DETECTED, f"/monitors/{monitor}", monitor, told, id=key)
            )


def reasons(workspace: Workspace, monitor: str) -> list[str]:
    """What has become a reason of the monitor's trigger."""
    with workspace.database.read() as tx:
        return sorted(firing.reason for firing in list_firings(tx) if firing.trigger == f"drift {monitor}")


class Died(Exception):
    """Where a process dies."""


def dying(workspace: Workspace, after: int) -> Workspace:
    """The same workspace in a process that dies when it asks for the time once more than so often."""
    left = iter(range(after))

    def now() -> datetime:
        if next(left, None) is None:
            raise Died
        return workspace.now()

    return replace(workspace, now=now)


STEPS = st.one_of(
    st.integers(1, 3).map(lambda number: ("ring", number)),
    st.just(("look", 0)),
    st.integers(0, 8).map(lambda after: ("die", after)),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=8))
def test_each_alarm_becomes_one_reason(workspace: Workspace, steps: list[tuple[str, int]]) -> None:
    """However alarms, looks and deaths in the middle of a look follow each other, and whoever looks."""
    mine, other = f"m{next(_numbers)}", f"m{next(_numbers)}"
    rung: list[str] = []
    for act, number in steps:
        if act == "ring":
            new = [f"{mine} rings {len(rung) + place}" for place in range(number)]
            rung += new
            ring(workspace, mine, *new)
            ring(workspace, other, f"{other} rings {len(rung)}")
        elif act == "look":
            controller(workspace, mine).tick()
            assert reasons(workspace, mine) == sorted(rung)
        else:
            before = reasons(workspace, mine)
            try:
                controller(dying(workspace, number), mine).tick()
            except Died:
                assert reasons(workspace, mine) == before
    controller(workspace, mine).tick()
    assert reasons(workspace, mine) == sorted(rung)
    with counting(workspace.database) as work:
        controller(workspace, mine).tick()
    assert work.rows < 20 and reasons(workspace, other) == []


def test_a_trigger_that_is_new_to_an_old_ledger_takes_up_all_of_it(workspace: Workspace) -> None:
    """A part at each look; one run serves them all."""
    keys = [f"alarm {number:04}" for number in range(1_200)]
    ring(workspace, "old", *keys)
    one = controller(workspace, "old")
    for _ in range(4):
        one.tick()
    assert reasons(workspace, "old") == keys
    with workspace.database.read() as tx:
        assert len({firing.run_id for firing in list_firings(tx)} - {None}) == 1


def test_a_ledger_without_cursors_fires_for_nothing_again(workspace: Workspace) -> None:
    """A workspace from before there were any is read from its start once, and knows its reasons by their keys."""
    ring(workspace, "old", "first", "second")
    controller(workspace, "old").tick()
    with workspace.database.write() as tx:
        tx.execute(delete(cursors))
    with workspace.database.read() as tx:
        before = list_firings(tx)
    for _ in range(2):
        controller(workspace, "old").tick()
    with workspace.database.read() as tx:
        assert list_firings(tx) == before
    ring(workspace, "old", "third")
    controller(workspace, "old").tick()
    assert reasons(workspace, "old") == ["first", "second", "third"]


def test_each_kind_of_trigger_has_its_line() -> None:
    """One that is declared and that nobody could look at would never start a run."""
    assert set(TRIGGERS) == set(get_args(Trigger))
