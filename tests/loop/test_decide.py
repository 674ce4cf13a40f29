"""What becomes of reasons to run: a pure function, so every case can be put to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import InvalidInput
from everloop.loop.decisions import Decision, Decisions, Firing, Situation, decide
from everloop.loop.triggers import (
    Budget,
    MonitorTrigger,
    Triggers,
    on_decay,
    on_drift,
    on_new_data,
    on_schedule,
)
from everloop.monitoring.monitors import DriftMonitor, Monitor, PerformanceMonitor
from everloop.pipelines.pipeline import pipeline
from everloop.pipelines.steps import step
from everloop.records.datasets import Dataset
from everloop.rollout.endpoint import Endpoint

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@step
def nothing(n: int) -> None:
    """A step."""


@pipeline
def main(n: int = 1) -> None:
    """A pipeline."""
    nothing(n)


@pipeline
def asks(n: int) -> None:
    """A pipeline that asks for a param."""
    nothing(n)


LIMITS = Triggers(main, cooldown=2 * HOUR, budget=Budget(3, per=24 * HOUR))
FREE = Situation(
    now=NOON, queued=None, running=None, last_requested=None, last_complete=None, started_lately=0
)


def firing(name: str, *, ago: timedelta = timedelta(0)) -> Firing:
    """A reason that arose some time ago."""
    return Firing(
        trigger=name, key=name, kind="drift", pipeline="main", time=NOON - ago, reason=f"{name} said so"
    )


def fates(outcome: Decisions) -> dict[str, Decision]:
    """What became of each reason."""
    return {one.trigger: one.decision for one in outcome.firings}


def test_without_a_reason_nothing_happens() -> None:
    """Not even when nothing stands in the way."""
    assert decide([], FREE, LIMITS) == Decisions(firings=(), start=False)


def test_reasons_that_come_together_start_one_run() -> None:
    """The first starts it, the others say with whom they went."""
    outcome = decide([firing("a"), firing("b"), firing("c")], FREE, LIMITS)
    assert outcome.start
    assert fates(outcome) == {"a": Decision.STARTED, "b": Decision.COALESCED, "c": Decision.COALESCED}
    assert outcome.firings[1].because == "together with a"


def test_a_queued_run_serves_every_reason_that_comes_meanwhile() -> None:
    """It has not chosen its data yet; cool-down and budget do not matter, because nothing is started."""
    busy = replace(FREE, queued="run-7", running="run-6", last_requested=NOON, started_lately=99)
    outcome = decide([firing("a"), firing("b", ago=HOUR)], busy, LIMITS)
    assert not outcome.start
    assert {(one.decision, one.run_id) for one in outcome.firings} == {(Decision.COALESCED, "run-7")}


OBSTACLES = [
    (replace(FREE, running="run-6"), "run run-6 is under way; one at a time"),
    (replace(FREE, last_requested=NOON - HOUR), "cooling down until 2013-01-01T13:00:00+00:00"),
    (replace(FREE, started_lately=3), "the budget of 3 runs in 1 day, 0:00:00 is used up"),
]


@pytest.mark.parametrize(("situation", "because"), OBSTACLES)
def test_what_stands_in_the_way_is_told_and_the_reasons_wait(situation: Situation, because: str) -> None:
    """One run at a time, a pause after each, and so many in a while; nothing is lost meanwhile."""
    outcome = decide([firing("a"), firing("b")], situation, LIMITS)
    assert not outcome.start
    assert {(one.decision, one.because) for one in outcome.firings} == {(Decision.WAITING, because)}


def test_the_pause_ends_on_the_dot() -> None:
    """At its very end the run starts."""
    for early, start in ((timedelta(microseconds=1), False), (timedelta(0), True)):
        situation = replace(FREE, last_requested=NOON - 2 * HOUR + early)
        assert decide([firing("a")], situation, LIMITS).start is start


def test_a_complete_run_answers_the_reasons_that_were_there_when_it_was_asked_for() -> None:
    """What arose at the same moment or later is news, and so is everything when that run failed."""
    done = replace(FREE, last_requested=NOON - HOUR, last_complete=("run-5", NOON - HOUR))
    outcome = decide([firing("old", ago=2 * HOUR), firing("same", ago=HOUR), firing("new")], done, LIMITS)
    assert fates(outcome) == {"old": Decision.ANSWERED, "same": Decision.WAITING, "new": Decision.WAITING}
    assert outcome.firings[0].run_id == "run-5"
    failed = replace(FREE, last_requested=NOON - 3 * HOUR)
    assert fates(decide([firing("old", ago=4 * HOUR)], failed, LIMITS)) == {"old": Decision.STARTED}


SITUATIONS = st.builds(
    Situation,
    now=st.just(NOON),
    queued=st.none() | st.just("queued"),
    running=st.none() | st.just("running"),
    last_requested=st.none() | st.integers(0, 5).map(lambda n: NOON - n * HOUR),
    last_complete=st.none() | st.integers(0, 5).map(lambda n: ("done", NOON - n * HOUR)),
    started_lately=st.integers(0, 5),
)


@given(situation=SITUATIONS, ages=st.lists(st.integers(0, 6), max_size=5))
def test_every_reason_has_one_fate_and_at_most_one_starts_a_run(
    situation: Situation, ages: list[int]
) -> None:
    """And none starts while a run is queued or under way, while it cools down, or over the budget."""
    pending = [firing(f"f{n}", ago=age * HOUR) for n, age in enumerate(ages)]
    outcome = decide(pending, situation, LIMITS)
    assert sorted(one.trigger for one in outcome.firings) == sorted(one.trigger for one in pending)
    started = [one for one in outcome.firings if one.decision is Decision.STARTED]
    assert len(started) == outcome.start
    cooling = situation.last_requested is not None and situation.last_requested > NOON - LIMITS.cooldown
    if situation.queued or situation.running or cooling or situation.started_lately >= LIMITS.budget.runs:
        assert not outcome.start
    assert all(one.because for one in outcome.firings)


def test_a_trigger_waits_for_an_event_that_a_monitor_raises() -> None:
    """One that nobody raises would never start a run."""
    raised = {monitor.event for monitor in get_args(Monitor)}
    assert {trigger.event for trigger in get_args(MonitorTrigger)} <= raised


def test_triggers_that_cannot_work_are_refused() -> None:
    """Twice the same reason, limits that stop everything, data in no number, and params that nobody would give."""
    rows = Dataset("rows", keys="id", event_time=None)
    with pytest.raises(InvalidInput, match="stands there twice"):
        Triggers(main, on_schedule("0 6 * * *"), on_schedule("0 6 * * *"))
    for cooldown in (-HOUR, 3600):
        with pytest.raises(InvalidInput, match=r"cooldown=.* is no pause"):
            Triggers(main, cooldown=cooldown)  # type: ignore[arg-type]
    for runs, per in ((1, timedelta(0)), (0, HOUR), (1, 3600)):
        with pytest.raises(InvalidInput, match=r"a budget of .* allows none"):
            Budget(runs, per=per)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="at least one row"):
        on_new_data(rows, rows=0)
    with pytest.raises(InvalidInput, match="nobody would be there to give its param n"):
        Triggers(asks)
    with pytest.raises(InvalidInput, match="longer than 80 letters"):
        Triggers(main, on_schedule(f"0 6 {','.join(str(n) for n in range(1, 31))} * *"))


def test_what_is_no_trigger_is_refused() -> None:
    """A declaration that has a name is none yet, and a monitor of the other kind would never ring."""
    endpoint = Endpoint("late", model="late")
    decay, drift = PerformanceMonitor("decay", endpoint, worse_by=0.1), DriftMonitor("drift", endpoint)
    with pytest.raises(InvalidInput, match="is no trigger"):
        Triggers(main, Dataset("rows", keys="id", event_time=None))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="is no budget"):
        Triggers(main, budget=3)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="takes a PerformanceMonitor"):
        on_decay(drift)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="takes a DriftMonitor"):
        on_drift(decay)  # type: ignore[arg-type]
