"""The loop over a real workspace and a clock that is moved by hand: five triggers, and each reason starts one run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from everloop.data.datasets import append
from everloop.errors import EverloopError, NotFound, ProjectError
from everloop.loop.controller import Controller
from everloop.loop.decisions import Decision, Firing
from everloop.loop.firings import list_firings, run_on_demand, wants_register
from everloop.loop.triggers import Budget, Trigger, Triggers, on_decay, on_drift, on_new_data, on_schedule
from everloop.metadata.runs import list_runs
from everloop.monitoring.monitors import DriftMonitor, PerformanceMonitor
from everloop.pipelines.pipeline import Pipeline, pipeline
from everloop.pipelines.steps import step
from everloop.pipelines.worker import Worker
from everloop.records.datasets import Dataset
from everloop.records.events import EventType
from everloop.records.runs import Run, RunState
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.endpoints import find_traffic
from everloop.settings import Settings
from everloop.storage import ledger
from everloop.storage.ids import id_maker
from everloop.storage.workspace import Workspace, open_workspace

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

rows = Dataset("rows", keys="id", event_time=None)
strangers = Dataset("strangers", keys="id", event_time=None)
endpoint = Endpoint("late", model=RegisteredModel("late"))
performance = PerformanceMonitor("late_performance", endpoint, worse_by=0.1)
inputs = DriftMonitor("late_inputs", endpoint)

FAILING: set[str] = set()
"""Say "main" in it and the next run fails."""


@step(cache=False)
def count(table: pa.Table) -> int:
    """Count, unless it was told to fail."""
    if "main" in FAILING:
        raise ValueError("told to")
    return len(table)


@pipeline
def main() -> None:
    """Reads the rows."""
    count(rows.rows)


@pipeline
def other() -> None:
    """Reads the same rows."""
    count(rows.rows)


class Scene:
    """A project in a workspace, a clock, and one worker."""

    def __init__(self, opened: Workspace) -> None:
        self.now = START
        self.workspace = replace(opened, now=lambda: self.now, new_id=id_maker(lambda: self.now))
        names = {"main": main, "other": other}
        self.worker = Worker(self.workspace, names, progress=lambda run, step: None)

    def controller(self, *rules: Trigger, files: Sequence[Dataset] = (), **limits: object) -> Controller:
        """A controller with these triggers of `main`."""
        limits = {"cooldown": timedelta(0), "budget": Budget(1000, per=DAY), **limits}
        return self.of(Triggers(main, *rules, **limits), files=files)  # type: ignore[arg-type]

    def of(self, *triggers: Triggers, files: Sequence[Dataset] = ()) -> Controller:
        """A controller with these triggers."""
        return Controller(
            workspace=self.workspace,
            datasets=files,
            pipelines=[main, other],
            endpoints=[endpoint],
            monitors=[],
            triggers=triggers,
        )

    def grow(self, count: int) -> None:
        """Append so many rows."""
        with self.workspace.database.read() as tx:
            key = f"batch {len(ledger.read(tx, types=['data.arrived']))}"
        table = pa.table({"id": range(count), "x": [float(n % 5) for n in range(count)]})
        append(self.workspace, rows, table, key=key)

    def alarm(self, kind: str, monitor: str, key: str) -> None:
        """A monitor raises its alarm."""
        told = {"because": f"{monitor} rang"}
        event = self.workspace.event(EventType(kind), f"/monitors/{monitor}", monitor, told, id=key)
        with self.workspace.database.write() as tx:
            ledger.append(tx, event)

    def ask(self, key: str, *, register: bool = True, data: Mapping[str, int] | None = None) -> Run:
        """Somebody asks for a run."""
        with self.workspace.database.write() as tx:
            return run_on_demand(
                tx,
                self.workspace,
                pipeline="main",
                params={},
                who="ann",
                reason="to see",
                key=key,
                register=register,
                data=data,
            )

    def work(self) -> list[Run]:
        """Take every run that waits."""
        taken = []
        while (run := self.worker.run_next()) is not None:
            taken.append(run)
        return taken

    def runs(self, pipeline: str = "main") -> list[Run]:
        """All runs, oldest first."""
        with self.workspace.database.read() as tx:
            return list_runs(tx, pipeline=pipeline)[::-1]

    def firings(self) -> list[Firing]:
        """All reasons, oldest first."""
        with self.workspace.database.read() as tx:
            return list_firings(tx)

    def fates(self) -> list[tuple[str, str]]:
        """Kind and fate of each reason."""
        return [(firing.kind, firing.decision.value) for firing in self.firings()]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """New Year 2013, with rows in the dataset that a first run has read."""
    FAILING.clear()
    opened = open_workspace(Settings(root=tmp_path, module="project"))
    made = Scene(opened)
    made.grow(100)
    made.ask("first")
    made.work()
    made.now += DAY
    yield made
    made.worker.close()
    opened.close()


def by_schedule(scene: Scene) -> None:
    """It is seven in the morning."""
    scene.now = START + 31 * HOUR


def by_data(scene: Scene) -> None:
    """Fifty rows arrive."""
    scene.grow(50)


def by_decay(scene: Scene) -> None:
    """The performance monitor rings."""
    scene.alarm("performance.decayed", "late_performance", "window 1")


def by_drift(scene: Scene) -> None:
    """The drift monitor rings."""
    scene.alarm("drift.detected", "late_inputs", "window 1")


def by_hand(scene: Scene) -> None:
    """Somebody asks."""
    scene.ask("second")


FIVE: list[tuple[str, Callable[[Scene], None]]] = [
    ("schedule", by_schedule),
    ("new_data", by_data),
    ("decay", by_decay),
    ("drift", by_drift),
    ("on_demand", by_hand),
]


@pytest.mark.parametrize(("kind", "happen"), FIVE, ids=[kind for kind, _ in FIVE])
def test_each_trigger_starts_exactly_one_run(
    scene: Scene, kind: str, happen: Callable[[Scene], None]
) -> None:
    """It fires when its reason is there and not before; looking again, by this or another controller, changes nothing."""
    rules = (on_schedule("0 6 * * *"), on_new_data(rows, rows=50), on_decay(performance), on_drift(inputs))
    controller = scene.controller(*rules)
    controller.tick()
    controller.tick()
    assert len(scene.runs()) == 1
    happen(scene)
    for _ in range(3):
        controller.tick()
        scene.controller(*rules).tick()
    (run,) = scene.runs()[1:]
    assert (run.trigger, run.state) == (kind, RunState.START)
    scene.work()
    for _ in range(3):
        controller.tick()
    assert len(scene.runs()) == 2
    assert [(f.kind, f.decision.value, f.run_id) for f in scene.firings() if f.kind == kind][-1:] == [
        (kind, "started", run.id)
    ]
    with scene.workspace.database.read() as tx:
        started = ledger.read(tx, types=["trigger.started"])
    assert [event.data["run"] for event in started] == [scene.runs()[0].id, run.id]


def test_asking_twice_with_one_key_is_asking_once(scene: Scene) -> None:
    """The request that somebody repeats is the run that is there, and the ledger keeps its first words."""
    before = scene.firings()
    scene.now += HOUR
    assert scene.ask("first").id == scene.runs()[0].id
    assert scene.firings() == before


def test_a_schedule_begins_when_it_is_first_seen(tmp_path: Path, scene: Scene) -> None:
    """Also in a workspace where nothing has happened yet; what it would have said before is not made up for."""
    root = tmp_path / "empty"
    root.mkdir()
    opened = open_workspace(Settings(root=root, module="project"))
    empty = Scene(opened)
    for made in (empty, scene):
        made.now = START + 40 * DAY
        controller = made.controller(on_schedule("0 6 * * *"))
        before = len(made.runs())
        controller.tick()
        made.now += 5 * HOUR
        controller.tick()
        assert len(made.runs()) == before
        made.now += HOUR
        controller.tick()
        assert len(made.runs()) == before + 1
    empty.worker.close()
    opened.close()


def test_a_year_of_schedule_passes_without_waiting(scene: Scene) -> None:
    """One run a week in New York's time, summer and winter, each once, though the controller looks many times a day."""
    controller = scene.controller(on_schedule("30 2 * * 0", timezone="America/New_York"))
    controller.tick()
    for _ in range(365):
        scene.now += DAY
        controller.tick()
        scene.work()
    weekly = scene.runs()[1:]
    assert len(weekly) == 52
    assert {run.state for run in weekly} == {RunState.COMPLETE}
    slots = [firing.time for firing in scene.firings() if firing.kind == "schedule"]
    assert {(slot.hour, slot.minute) for slot in slots} == {(7, 30), (6, 30), (7, 0)}
    assert {b - a for a, b in pairwise(slots)} <= {
        7 * DAY, 7 * DAY - HOUR, 7 * DAY + HOUR, 7 * DAY - HOUR / 2
    }  # fmt: skip


def test_a_controller_that_was_away_makes_up_for_one_time(scene: Scene) -> None:
    """Thirty mornings were missed; one run is what is wanted now."""
    scene.controller(on_schedule("0 6 * * *")).tick()
    scene.now += 30 * DAY
    scene.controller(on_schedule("0 6 * * *")).tick()
    assert len(scene.runs()) == 2


def test_reasons_that_come_together_make_one_run_that_tells_of_all(scene: Scene) -> None:
    """A run is started by the first and says why in full."""
    controller = scene.controller(on_new_data(rows, rows=50), on_drift(inputs), on_decay(performance))
    by_data(scene)
    by_drift(scene)
    by_decay(scene)
    controller.tick()
    (run,) = scene.runs()[1:]
    assert sorted(decision for _, decision in scene.fates()[1:]) == ["coalesced", "coalesced", "started"]
    assert {firing.run_id for firing in scene.firings()[1:]} == {run.id}
    for word in ("50 new rows", "late_inputs rang", "late_performance rang"):
        assert word in run.reason


def test_data_that_keeps_coming_while_the_reason_waits_is_one_reason(scene: Scene) -> None:
    """Three batches within the pause make one run after it, and it reads all of them."""
    controller = scene.controller(on_new_data(rows, rows=50), cooldown=2 * DAY)
    for _ in range(3):
        scene.grow(60)
        controller.tick()
        scene.now += HOUR
    assert scene.fates()[1:] == [("new_data", "waiting")]
    scene.now += DAY
    controller.tick()
    assert scene.fates()[1:] == [("new_data", "started")]
    (run,) = scene.work()
    assert [pin.rows for pin in run.datasets] == [280]
    controller.tick()
    assert len(scene.runs()) == 2


def test_rows_add_up_over_batches_that_are_too_small_alone(scene: Scene) -> None:
    """What counts is how much is new since a run has read the dataset."""
    controller = scene.controller(on_new_data(rows, rows=50))
    for count, total in ((30, 1), (30, 2), (30, 2), (30, 3)):
        scene.grow(count)
        controller.tick()
        scene.work()
        assert len(scene.runs()) == total


def test_values_that_changed_are_a_reason_when_asked_for(scene: Scene) -> None:
    """`or_changed` starts a run however few the rows are, when the data gate said `retrain`, and only then."""
    moved = pa.table({"id": range(100), "x": [float(n % 5) + 2.0 for n in range(100)]})
    controller = scene.controller(on_new_data(rows, rows=10_000, or_changed=True))
    scene.grow(100)
    controller.tick()
    assert len(scene.runs()) == 1
    batch = append(scene.workspace, rows, moved, key="moved")
    assert batch.verdict.value == "retrain"
    controller.tick()
    (run,) = scene.runs()[1:]
    assert "values of rows changed: x" in run.reason
    scene.work()
    controller.tick()
    assert len(scene.runs()) == 2


def test_data_that_another_run_has_read_is_no_reason_any_more(scene: Scene) -> None:
    """A reason that waits is answered by the run that dealt with it, even one asked for at the very same moment."""
    controller = scene.controller(on_new_data(rows, rows=50), cooldown=10 * DAY)
    by_data(scene)
    controller.tick()
    assert scene.fates()[-1] == ("new_data", "waiting")
    scene.ask("second")
    (run,) = scene.work()
    controller.tick()
    answered = next(firing for firing in scene.firings() if firing.kind == "new_data")
    assert (answered.decision, answered.run_id) == (Decision.ANSWERED, run.id)
    scene.now += 20 * DAY
    controller.tick()
    assert len(scene.runs()) == 2


def test_a_run_that_failed_has_read_nothing_and_answers_nothing(scene: Scene) -> None:
    """It is not tried again for the same batch, which would fail for ever; the next batch and the next alarm count."""
    controller = scene.controller(on_new_data(rows, rows=50), on_drift(inputs))
    FAILING.add("main")
    by_data(scene)
    controller.tick()
    (failed,) = scene.work()
    assert failed.state is RunState.FAIL
    controller.tick()
    assert len(scene.runs()) == 2
    FAILING.clear()
    scene.now += HOUR
    scene.grow(1)
    controller.tick()
    (run,) = scene.work()
    assert run.state is RunState.COMPLETE and "51 new rows" in run.reason


def test_an_alarm_that_is_older_than_a_complete_run_is_answered(scene: Scene) -> None:
    """Whoever adds a trigger to an old workspace, or comes back to it, is not flooded with runs for old alarms."""
    for number in range(5):
        scene.alarm("drift.detected", "late_inputs", f"old {number}")
        scene.now += HOUR
    scene.ask("second")
    scene.now += HOUR
    (run,) = scene.work()
    scene.alarm("drift.detected", "somebody_else", "not ours")
    controller = scene.controller(on_drift(inputs), on_decay(performance))
    controller.tick()
    controller.tick()
    assert len(scene.runs()) == 2
    answered = [firing for firing in scene.firings() if firing.kind == "drift"]
    assert {(firing.decision, firing.run_id) for firing in answered} == {(Decision.ANSWERED, run.id)}
    by_drift(scene)
    controller.tick()
    assert len(scene.runs()) == 3


EXPERIMENTS: list[dict[str, Any]] = [{"register": False}, {"data": {"rows": 0}}]


@pytest.mark.parametrize("how", EXPERIMENTS, ids=["registers nothing", "reads old data"])
def test_an_experiment_answers_no_reason(scene: Scene, how: dict[str, Any]) -> None:
    """It has made no model fresh: new data and an alarm start their run beside it, and do not join it in the queue."""
    by_data(scene)
    by_drift(scene)
    experiment = scene.ask("an experiment", **how)
    scene.now += HOUR
    controller = scene.controller(on_new_data(rows, rows=50), on_drift(inputs))
    controller.tick()
    assert len(scene.runs()) == 3
    found = [firing for firing in scene.firings() if firing.kind != "on_demand"]
    assert sorted(firing.decision.value for firing in found) == ["coalesced", "started"]
    assert {firing.run_id for firing in found} == {scene.runs()[-1].id} != {experiment.id}


@pytest.mark.parametrize("how", EXPERIMENTS, ids=["registers nothing", "reads old data"])
def test_a_reason_outlives_an_experiment_that_came_after_it(scene: Scene, how: dict[str, Any]) -> None:
    """Also when the experiment is complete, and without waiting for it to cool down."""
    controller = scene.controller(on_new_data(rows, rows=50), on_drift(inputs), cooldown=2 * DAY)
    by_data(scene)
    by_drift(scene)
    controller.tick()
    assert [fate for _, fate in scene.fates()[1:]] == ["waiting", "waiting"]
    scene.now += DAY
    scene.ask("an experiment", **how)
    scene.work()
    controller.tick()
    (run,) = scene.runs()[2:]
    assert run.trigger == "drift" and "50 new rows" in run.reason


def test_a_version_that_is_not_there_is_not_asked_for(scene: Scene) -> None:
    """Nobody waits for a run to fail over it, and nothing is on the ledger."""
    before = scene.firings()
    for dataset, version in (("rows", 7), ("strangers", 0)):
        with pytest.raises(NotFound):
            scene.ask("old", data={dataset: version})
    assert (len(scene.runs()), scene.firings()) == (1, before)


def test_a_run_that_a_trigger_starts_registers(scene: Scene) -> None:
    """Nobody experiments through a trigger."""
    by_drift(scene)
    scene.controller(on_drift(inputs)).tick()
    assert scene.runs()[-1].register


def test_an_experiment_is_not_a_release() -> None:
    """By hand, with params of one's own or on older data, a run registers only when it is asked to."""

    def asks(month: str, trees: int = 60) -> None:
        count(rows.rows)

    flow = Pipeline(asks)
    assert wants_register(flow, {"month": "may"}) and wants_register(flow, {"month": "may", "trees": 60})
    assert not wants_register(flow, {"month": "may", "trees": 61})
    assert not wants_register(flow, {"month": "may"}, data={"rows": 0})
    assert wants_register(flow, {"month": "may", "trees": 61}, True, data={"rows": 0})
    assert not wants_register(flow, {"month": "may"}, False)


def test_an_alarm_while_a_run_is_queued_is_served_by_it_and_one_during_a_run_waits(scene: Scene) -> None:
    """A run that waits has not chosen its data yet; the one under way has, so the next one starts after it."""
    controller = scene.controller(on_drift(inputs))
    queued = scene.ask("second")
    by_drift(scene)
    controller.tick()
    (joined,) = [firing for firing in scene.firings() if firing.kind == "drift"]
    assert (joined.decision, joined.run_id) == (Decision.COALESCED, queued.id)
    scene.now += HOUR
    worker = Worker(scene.workspace, {"main": main}, progress=lambda run, step: ring_once(run))

    def ring_once(run: Run) -> None:
        scene.alarm("drift.detected", "late_inputs", "window 2")
        controller.tick()

    assert worker.run_next() is not None
    worker.close()
    waiting = next(firing for firing in scene.firings() if "window 2" in firing.key)
    assert (waiting.decision, waiting.because) == (
        Decision.WAITING,
        f"run {queued.id} is under way; one at a time",
    )
    controller.tick()
    assert [run.trigger for run in scene.runs()] == ["on_demand", "on_demand", "drift"]


def test_the_budget_counts_runs_and_not_reasons(scene: Scene) -> None:
    """Two runs a day whatever rings; what waits is not lost and goes together when there is room again."""
    controller = scene.controller(on_drift(inputs), budget=Budget(2, per=DAY))
    for number in range(5):
        scene.alarm("drift.detected", "late_inputs", f"window {number}")
        controller.tick()
        scene.work()
        scene.now += HOUR
    assert len(scene.runs()) == 3
    assert [fate for _, fate in scene.fates()[1:]] == ["started", "started", "waiting", "waiting", "waiting"]
    assert "the budget of 2 runs" in scene.firings()[-1].because
    scene.now += DAY
    controller.tick()
    assert [fate for _, fate in scene.fates()[1:]] == [
        "started",
        "started",
        "started",
        "coalesced",
        "coalesced",
    ]
    assert len(scene.runs()) == 4


def test_pipelines_that_wait_for_the_same_thing_each_get_their_run(scene: Scene) -> None:
    """One schedule, one alarm, one batch, two pipelines: two runs each time."""
    scene.now += HOUR
    rules = (on_schedule("0 6 * * *"), on_drift(inputs), on_new_data(rows, rows=50))
    controller = scene.of(*(Triggers(p, *rules, cooldown=timedelta(0)) for p in (main, other)))
    controller.tick()
    scene.work()
    for happen in (by_drift, by_data):
        scene.now += HOUR
        before = len(scene.runs()), len(scene.runs("other"))
        happen(scene)
        controller.tick()
        scene.work()
        assert (len(scene.runs()), len(scene.runs("other"))) == (before[0] + 1, before[1] + 1)
    scene.now += DAY
    controller.tick()
    assert {run.trigger for run in (scene.runs()[-1], scene.runs("other")[-1])} == {"schedule"}


def test_two_controllers_at_once_start_one_run(scene: Scene) -> None:
    """Whoever comes second finds it done."""
    by_drift(scene)
    controllers = [scene.controller(on_drift(inputs), on_new_data(rows, rows=50)) for _ in range(4)]
    by_data(scene)
    ready = threading.Barrier(len(controllers))

    def tick(controller: Controller) -> None:
        ready.wait()
        controller.tick()

    threads = [threading.Thread(target=tick, args=(controller,)) for controller in controllers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(scene.runs()) == 2
    assert len(scene.fates()) == 3


def test_a_part_that_cannot_be_done_keeps_no_other_from_its_turn(scene: Scene) -> None:
    """A damaged file is told of, and the endpoint and the triggers have had their turn all the same."""
    (scene.workspace.settings.root / "a.csv").write_bytes(b"")
    (scene.workspace.settings.root / "b.csv").write_bytes(b"")
    files = [Dataset(name, keys="id", event_time=None, files=f"{name}.csv") for name in ("a", "b")]
    controller = scene.controller(on_drift(inputs), files=files)
    by_drift(scene)
    with pytest.raises(EverloopError, match=r"(?s)a\.csv.*b\.csv"):
        controller.tick()
    assert len(scene.runs()) == 2
    with scene.workspace.database.read() as tx:
        assert find_traffic(tx, "late") is not None


def test_a_fault_of_one_part_keeps_no_other_from_its_turn(scene: Scene) -> None:
    """What no user could mend is raised with its traceback, and after the rollouts have been looked at."""
    controller = replace(scene.controller(on_drift(inputs)), datasets=[None])  # type: ignore[list-item]
    by_drift(scene)
    with pytest.raises(AttributeError, match="files"):
        controller.tick()
    assert len(scene.runs()) == 2
    with scene.workspace.database.read() as tx:
        assert find_traffic(tx, "late") is not None


def test_a_controller_that_could_not_do_its_work_is_not_made(scene: Scene) -> None:
    """Triggers of a pipeline that is not there, two sets for one pipeline, and data that the pipeline does not read."""
    twice = Triggers(main, on_drift(inputs)), Triggers(main, on_decay(performance))
    with pytest.raises(ProjectError, match="two Triggers"):
        scene.of(*twice)
    with pytest.raises(ProjectError, match="does not read it"):
        scene.of(Triggers(main, on_new_data(strangers, rows=5)))
    with pytest.raises(ProjectError, match="does not have"):
        replace(scene.of(), pipelines=[other], triggers=[Triggers(main)])
