"""A monitor looks through its newest window: once, with a verdict that says why, and one event at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from everloop.errors import InvalidInput
from everloop.evaluation.metric import Metric
from everloop.evaluation.records import Evaluation
from everloop.metadata.runs import get_run
from everloop.metadata.steps import begin_step, end_step
from everloop.monitoring.kinds import MONITORS
from everloop.monitoring.monitors import DriftMonitor, Monitor, PerformanceMonitor
from everloop.monitoring.watch import MonitorWindow, evaluate_window, list_newest_windows, list_windows
from everloop.records.events import Event
from everloop.records.models import CHAMPION, Datatype, Field, Signature
from everloop.records.runs import ArtifactRef, RunState, StepRun
from everloop.records.serving import Arm, Scalar
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.endpoint import Endpoint
from everloop.settings import Settings
from everloop.storage import ledger
from everloop.storage.codec import dumps
from everloop.storage.ids import id_maker
from everloop.storage.workspace import Workspace, open_workspace
from tests.support.runs import claim, step
from tests.support.traffic import SIGNATURE, label, log, prediction, register
from tests.support.work import counting

BEGIN = datetime(2013, 2, 7, tzinfo=UTC)  # a Thursday, where windows of a week begin
DAY, WEEK = timedelta(days=1), timedelta(days=7)
GOOD = {
    "log_loss": 0.35,
    "log_loss_low": 0.33,
    "log_loss_high": 0.37,
    "auc": 0.9,
    "auc_low": 0.88,
    "auc_high": 0.92,
}

endpoint = Endpoint("late", model=RegisteredModel("late"))
performance = PerformanceMonitor("late_performance", endpoint, worse_by=0.1, min_labels=100)
drifting = DriftMonitor("late_inputs", endpoint, min_requests=100)


@dataclass
class Scene:
    """A workspace whose clock a test moves."""

    opened: Workspace
    now: datetime = BEGIN

    def __post_init__(self) -> None:
        self.workspace = replace(
            self.opened, now=lambda: self.now, new_id=id_maker(lambda: self.now, Random(0).getrandbits)
        )

    def ask(
        self,
        name: str,
        inputs: Iterable[Mapping[str, Scalar]],
        *,
        version: int = 1,
        output: float = 0.7,
        **other: Any,
    ) -> list[str]:
        """One request for each of these inputs, within the hour."""
        ids = []
        for place, row in enumerate(inputs):
            ids.append(f"{name}-{place}")
            time = self.now + timedelta(seconds=place)
            log(
                self.workspace,
                [prediction(ids[-1], time=time, version=version, inputs=row, output=output, **other)],
            )
        return ids

    def answer(self, ids: Iterable[str], *, right: float) -> None:
        """The true answers: this share of them is 1."""
        names = list(ids)
        label(self.workspace, {id: float(n < right * len(names)) for n, id in enumerate(names)})

    def evaluated(self, run_id: str, digests: Mapping[str, str]) -> None:
        """The gate of a run was asked about an evaluation by these versions of metrics."""
        nothing = Evaluation(rows=0, positives=0, confidence=0.95, candidate={}, metric_digests=digests)
        kept = ArtifactRef(
            name="evaluation", digest=self.workspace.blobs.put(dumps(nothing)), format="json", size=1
        )
        with self.workspace.database.read() as tx:
            run = get_run(tx, run_id)
        verdict = replace(kept, name="verdict", digest=self.workspace.blobs.put(b"{}"))
        step(self.workspace, run, "gate", inputs=(kept,), outputs=(verdict,))

    def evaluate_window(self, monitor: Monitor) -> MonitorWindow | None:
        """Look, and look again: the second time finds nothing to do."""
        found = evaluate_window(self.workspace, monitor)
        assert evaluate_window(self.workspace, monitor) is None
        return found

    def alarms(self) -> list[Event]:
        """Every alarm so far."""
        with self.workspace.database.read() as tx:
            return ledger.read(tx, types=["performance.decayed", "drift.detected"])

    def windows(self) -> list[MonitorWindow]:
        """Every look so far."""
        with self.workspace.database.read() as tx:
            return list_windows(tx)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """February; late@1 is champion and had a log loss of 0.35 offline."""
    opened = open_workspace(Settings(root=tmp_path, module="project"))
    made = Scene(opened)
    register(made.workspace, 1, metrics=GOOD, alias=CHAMPION)
    yield made
    opened.close()


def xs(count: int, mean: float = 0.0, seed: int = 0) -> list[Mapping[str, Scalar]]:
    """So many inputs around a mean."""
    return [{"x": float(x)} for x in np.random.default_rng(seed).normal(mean, 1.0, count)]


def trained_on(scene: Scene, table: pa.Table, *, signature: Signature = SIGNATURE, version: int = 2) -> None:
    """Register the next champion from a run whose step `train` has read this table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    workspace, digest = scene.workspace, f"{version:064}"
    size = {"size": 1}
    rows = ArtifactRef(
        name="rows", format="parquet", digest=workspace.blobs.put(sink.getvalue().to_pybytes()), **size
    )
    model = ArtifactRef(name="output", format="model", digest=digest, **size)
    run_id = register(workspace, version, metrics=GOOD, alias=CHAMPION, signature=signature, digest=digest)
    run = claim(workspace, only=run_id, alive=lambda worker: False)
    assert run is not None
    step = StepRun(
        run_id=run.id,
        step="train",
        position=0,
        state=RunState.RUNNING,
        cache_key="0",
        started_at=scene.now,
        inputs=(rows,),
        outputs=(model,),
    )
    with workspace.database.write() as tx:
        begin_step(tx, run, step)
        end_step(tx, workspace, run, replace(step, state=RunState.COMPLETE, ended_at=scene.now))


def normal_table(count: int = 2_000) -> pa.Table:
    """What the inputs looked like in training."""
    return pa.table({"x": np.random.default_rng(9).normal(0.0, 1.0, count)})


def test_a_decayed_metric_is_told_of_once_for_its_window(scene: Scene) -> None:
    """When the window is complete and its labels have had time to come; with the numbers, and one event."""
    scene.answer(scene.ask("a", xs(300)), right=0.2)
    scene.now = BEGIN + WEEK + DAY - timedelta(seconds=1)
    assert scene.evaluate_window(performance) is None
    scene.now += timedelta(seconds=1)
    window = scene.evaluate_window(performance)
    assert window is not None
    assert (window.verdict, window.start, window.end) == ("alarm", BEGIN, BEGIN + WEEK)
    assert str(window.result["because"]).startswith("worse by 0.6")
    (event,) = scene.alarms()
    assert (event.short_type, event.subject) == ("performance.decayed", "late_performance")
    assert event.data == {"because": window.result["because"], "version": "late@1"}
    scene.now += 3 * DAY
    assert scene.evaluate_window(performance) is None
    assert scene.windows() == [window]


def test_a_metric_that_holds_is_written_down_and_wakes_nobody(scene: Scene) -> None:
    """Live performance as good as it was offline is `ok`; so is AUC, for which more is better."""
    ids = scene.ask("a", xs(150), output=0.9) + scene.ask("b", xs(150), output=0.1)
    label(scene.workspace, {id: float(id[0] == "a") for id in ids})
    scene.now += WEEK + DAY
    for metric in ("log_loss", "auc"):
        window = scene.evaluate_window(
            PerformanceMonitor(f"m_{metric}", endpoint, metric=metric, worse_by=0.05)
        )
        assert window is not None and window.verdict == "ok", metric
    assert scene.alarms() == []


def test_a_metric_of_the_users_own_is_watched_like_ours(scene: Scene) -> None:
    """Held against the number that its run has kept under its name; a function that breaks is told of and hurts nobody."""
    cost = Metric("cost", losses=lambda score, label: 5 * (score - label) ** 2)
    run = register(
        scene.workspace,
        2,
        metrics={"cost": 0.5, "cost_low": 0.4, "cost_high": 0.6},
        alias=CHAMPION,
    )
    scene.evaluated(run, {"cost": str(cost.digest)})
    label(scene.workspace, dict.fromkeys(scene.ask("a", xs(300), version=2, output=0.1), 1.0))
    scene.now += WEEK + DAY
    window = scene.evaluate_window(PerformanceMonitor("costs", endpoint, metric=cost, worse_by=0.1))
    assert window is not None and (window.verdict, window.result["metric"]) == ("alarm", "cost")
    live = window.result["live"]
    assert isinstance(live, Mapping) and isinstance(live["cost"], Mapping)
    assert live["cost"]["value"] == pytest.approx(5 * 0.9**2)
    broken = Metric("cost", losses=lambda score, label: score[:-1])
    window = scene.evaluate_window(PerformanceMonitor("broken", endpoint, metric=broken, worse_by=0.1))
    assert window is not None and window.verdict == "unknown"
    assert "the losses of metric cost are float64 of shape (299,)" in str(window.result["because"])


def test_too_few_labels_mean_unknown_and_never_good(scene: Scene) -> None:
    """And the record says how many there were, also where the champion's own figure is missing."""
    scene.answer(scene.ask("a", xs(300))[:99], right=0.0)
    scene.now += WEEK + DAY
    window = scene.evaluate_window(performance)
    assert window is not None and window.verdict == "unknown"
    assert window.result["because"] == "not known: 99 labels, 100 are asked for"
    register(scene.workspace, 2, alias=CHAMPION)
    scene.answer(scene.ask("b", xs(300), version=2), right=0.0)
    scene.now += WEEK + DAY
    window = scene.evaluate_window(performance)
    assert window is not None and window.verdict == "unknown"
    assert "did not measure log_loss with an interval" in str(window.result["because"])
    assert scene.alarms() == []


def test_a_week_without_a_request_or_without_a_champion_is_no_window(scene: Scene, tmp_path: Path) -> None:
    """Nothing was served, so there is nothing to say."""
    scene.now += WEEK + DAY
    assert scene.evaluate_window(performance) is None and scene.evaluate_window(drifting) is None
    root = tmp_path / "other"
    root.mkdir()
    opened = open_workspace(Settings(root=root, module="project"))
    other = Scene(opened)
    other.ask("a", xs(300))
    other.now += WEEK + DAY
    assert other.evaluate_window(performance) is None
    opened.close()


def test_windows_that_nobody_looked_at_are_left_out(scene: Scene) -> None:
    """After a month away there is one look, at the newest window, and one alarm at most."""
    for week in range(5):
        scene.answer(scene.ask(f"w{week}", xs(150)), right=0.2)
        scene.now += WEEK
    scene.now += DAY
    assert scene.evaluate_window(performance) is not None
    (window,) = scene.windows()
    assert (window.end, len(scene.alarms())) == (BEGIN + 5 * WEEK, 1)


def test_in_a_rollout_the_champions_own_answers_count(scene: Scene) -> None:
    """What it said while it looked on included, what the canary said not; a request counts once."""
    answered = scene.ask("stable", xs(60), output=0.9, share=80)
    scene.ask("stable", xs(60), output=0.1, version=2, arm=Arm.SHADOW, share=80)
    canary = scene.ask("canary", xs(60), output=0.1, version=2, arm=Arm.CANARY, share=20)
    scene.ask("canary", xs(60), output=0.9, arm=Arm.SHADOW, share=20)
    broken = scene.ask("broken", xs(60), output=0.1, version=2, arm=Arm.CANARY, share=20, failed=True)
    scene.ask("broken", xs(60), output=0.9, share=80)
    label(scene.workspace, dict.fromkeys(answered + canary + broken, 1.0))
    scene.now += WEEK + DAY
    window = scene.evaluate_window(performance)
    assert window is not None and window.verdict == "ok"
    live = window.result["live"]
    assert isinstance(live, Mapping) and (live["predictions"], live["labels"]) == (180, 180)
    loss = live["log_loss"]
    assert isinstance(loss, Mapping) and loss["value"] == pytest.approx(-np.log(0.9))


def test_labels_that_no_metric_takes_are_told_of_and_hurt_nobody(scene: Scene) -> None:
    """A number of minutes is no answer of yes or no: unknown, with the reason."""
    label(scene.workspace, dict.fromkeys(scene.ask("a", xs(150)), 17.0))
    scene.now += WEEK + DAY
    window = scene.evaluate_window(performance)
    assert window is not None and window.verdict == "unknown"
    assert str(window.result["because"]).startswith("cannot be evaluated: ")


def test_inputs_that_have_moved_ring_once_for_their_window(scene: Scene) -> None:
    """Held against the table that the champion was trained on, found through its run."""
    trained_on(scene, normal_table())
    scene.ask("a", xs(300, mean=1.5), version=2)
    scene.now += WEEK
    window = scene.evaluate_window(drifting)
    assert window is not None and window.verdict == "alarm"
    assert (window.result["columns"], window.result["requests"]) == (("x",), 300)
    (event,) = scene.alarms()
    assert (event.short_type, event.subject) == ("drift.detected", "late_inputs")
    assert str(event.data["because"]).startswith("x: ")


def test_inputs_that_have_not_moved_or_are_not_watched_ring_nothing(scene: Scene) -> None:
    """What moved is written down in any case; the alarm is the user's to set."""
    trained_on(scene, normal_table())
    scene.ask("a", xs(300), version=2)
    scene.now += WEEK
    window = scene.evaluate_window(drifting)
    assert window is not None and (window.verdict, window.result["moved"]) == ("ok", ())
    scene.ask("b", xs(300, mean=1.5), version=2)
    scene.now += WEEK
    window = scene.evaluate_window(DriftMonitor("quiet", endpoint, min_requests=100, ignore="x"))
    assert window is not None and (window.verdict, window.result["moved"]) == ("ok", ("x",))
    assert scene.alarms() == []


def test_an_alarm_on_a_column_that_is_not_there_is_told_of_and_hurts_nobody(scene: Scene) -> None:
    """A typo in a monitor must not end the look at everything else, and must not pass for `ok`."""
    trained_on(scene, normal_table())
    scene.ask("a", xs(300), version=2)
    scene.now += WEEK
    window = scene.evaluate_window(DriftMonitor("typo", endpoint, min_requests=100, alarm_on=["y"]))
    assert window is not None and window.verdict == "unknown"
    assert "set on y, which the training data does not have" in str(window.result["because"])


def test_what_cannot_be_compared_is_unknown(scene: Scene) -> None:
    """Too few requests, and a champion whose run has left no table of its inputs."""
    scene.ask("a", xs(99))
    scene.now += WEEK
    window = scene.evaluate_window(drifting)
    assert window is not None and window.verdict == "unknown"
    assert window.result["because"] == "only 99 requests, 100 are asked for"
    scene.ask("b", xs(150))
    scene.now += WEEK
    window = scene.evaluate_window(drifting)
    assert window is not None and window.verdict == "unknown"
    assert "no step of the run that made it" in str(window.result["because"])
    assert scene.alarms() == []


def test_requests_to_an_earlier_champion_count_if_it_asked_for_the_same(scene: Scene) -> None:
    """A promotion in the middle of a week loses no request; one of another signature is left out."""
    scene.ask("old", xs(150), version=1)
    trained_on(scene, normal_table())
    scene.ask("new", xs(150, seed=1), version=2)
    scene.now += WEEK
    window = scene.evaluate_window(drifting)
    assert window is not None and (window.verdict, window.result["requests"]) == ("ok", 300)
    scene.ask("before", xs(150), version=2)
    table = normal_table().append_column("y", pa.array(range(2_000)))
    wider = Signature(
        inputs=(*SIGNATURE.inputs, Field(name="y", datatype=Datatype.INT64)), outputs=SIGNATURE.outputs
    )
    trained_on(scene, table, signature=wider, version=3)
    both: list[Mapping[str, Scalar]] = [{**row, "y": 13 * n % 2_000} for n, row in enumerate(xs(150))]
    scene.ask("after", both, version=3)
    scene.now += WEEK
    window = scene.evaluate_window(drifting)
    assert window is not None and (window.verdict, window.result["requests"]) == ("ok", 150)


def test_monitors_that_could_never_tell_anything_are_refused() -> None:
    """Told where they are declared."""
    for make in (
        lambda: PerformanceMonitor("A", endpoint, worse_by=0.1),
        lambda: PerformanceMonitor("a", endpoint, worse_by=0.1, metric="rmse"),
        lambda: PerformanceMonitor("a", endpoint, worse_by=-0.1),
        lambda: PerformanceMonitor("a", endpoint, worse_by=0.1, min_labels=1),
        lambda: PerformanceMonitor("a", endpoint, worse_by=0.1, window=timedelta(0)),
        lambda: PerformanceMonitor("a" * 101, endpoint, worse_by=0.1),
        lambda: DriftMonitor("a", endpoint, effect=1.5),
        lambda: DriftMonitor("a", endpoint, min_requests=0),
    ):
        with pytest.raises(InvalidInput, match="monitor"):
            make()
    assert DriftMonitor("a", endpoint, ignore="temp", alarm_on="dewp").ignore == ("temp",)


def test_inputs_that_nothing_can_read_are_told_of_and_hurt_nobody(scene: Scene) -> None:
    """Whatever a library raises over them, the verdict is unknown, with the reason."""
    whole = replace(SIGNATURE, inputs=(Field(name="x", datatype=Datatype.INT64),))
    trained_on(scene, pa.table({"x": range(1_000)}), signature=whole)
    scene.ask("a", [{"x": 2**64 - 1}] * 150, version=2)
    scene.now += WEEK
    window = scene.evaluate_window(drifting)
    assert window is not None and window.verdict == "unknown"
    assert str(window.result["because"]).startswith("cannot be evaluated: OverflowError")


def of_model(monitor: Monitor, model: str) -> Monitor:
    """The same monitor over an endpoint that has been given another model."""
    kind, moved = type(monitor), Endpoint("late", model=RegisteredModel(model))
    return kind(monitor.name, moved, **({"worse_by": 0.1} if kind is PerformanceMonitor else {}))  # type: ignore[arg-type]


def test_each_kind_of_monitor_has_its_line() -> None:
    """One that is declared and that nobody could evaluate would never ring."""
    assert set(MONITORS) == set(get_args(Monitor))


@pytest.mark.parametrize("monitor", [performance, drifting], ids=lambda monitor: monitor.kind)
def test_a_window_that_cannot_be_judged_is_not_read_at_every_look(scene: Scene, monitor: Monitor) -> None:
    """Whether nobody is champion of the model that was asked, or another model was: no look reads the requests."""
    scene.ask("asked", xs(300))
    scene.now += 2 * WEEK
    register(scene.workspace, 1, model="other", alias=CHAMPION)
    for watched in (of_model(monitor, "nobodys"), of_model(monitor, "other")):
        with counting(scene.workspace.database) as work:
            assert evaluate_window(scene.workspace, watched) is None
        assert work.rows <= 1, watched.model
    assert scene.windows() == []


def test_the_newest_window_of_each_monitor(scene: Scene) -> None:
    """In the order in which the monitors first looked, however many windows there are."""
    for week in range(3):
        for monitor in (performance, drifting)[: 1 + week]:
            scene.answer(scene.ask(f"{week}{monitor.kind}", xs(150)), right=0.5)
        scene.now += WEEK
        for monitor in (performance, drifting)[: 1 + week]:
            scene.now += DAY
            scene.evaluate_window(monitor)
    found = {window.monitor: window for window in scene.windows()}
    assert len(scene.windows()) > len(found) == 2
    with scene.workspace.database.read() as tx:
        assert list_newest_windows(tx) == list(found.values())
