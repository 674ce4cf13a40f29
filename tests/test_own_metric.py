"""A metric of the user's own, from its declaration to the verdict of a canary: one number, asked everywhere by its row."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import everloop as ev
from everloop.clock import FileClock
from everloop.control.opened import OpenProject, RunResult
from everloop.errors import ProjectError
from everloop.monitoring.watch import MonitorWindow, list_windows
from everloop.records.serving import Rollout
from everloop.rollout.endpoints import find_traffic, list_rollouts
from tests.app.conftest import Everloop, change, everloop, one_project_at_a_time, starter
from tests.support.traffic import ask, label

__all__ = ["everloop", "one_project_at_a_time", "starter"]

COST = """
def losses(score, label):
    return 4.0 * label * (1 - score) + (1 - label) * score


cost = ev.Metric("cost", losses=losses, bound=4.0)
"""
NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def project(starter: Path) -> Path:
    """The starter, on a clock that a test moves, with a metric of its own in each place that takes one."""
    code = starter / "churn.py"
    change(code, "# ---- the model and its gate", f"{COST}\n# ---- the model and its gate")
    change(code, "ev.not_worse(margin=0.03)", "ev.at_most(cost, 2.0) & ev.not_worse(margin=1.0, metric=cost)")
    change(code, 'slices=["plan"]', 'slices=["plan"], metrics=[cost]')
    judge = "judge=ev.error_rate(margin=0.3) & ev.quality(margin=0.5, metric=cost)"
    change(code, "min_requests=100)", f"min_requests=60, {judge})")
    change(code, 'metric="log_loss", worse_by=0.05', "metric=cost, worse_by=0.05, min_labels=20")
    with (starter / "everloop.toml").open("a") as settings:
        settings.write('\n[clock]\nfile = "clock"\n')
    FileClock(starter / "clock").set(NOON)
    return starter


def test_gate_monitor_table_and_canary_ask_the_same_row(project: Path, everloop: Everloop) -> None:
    """The gate weighs it, the record and the table have it, a monitor alarms by it, and a canary is promoted by it."""
    with ev.open(project) as here:
        first = here.run("keep_fresh")
        assert first.evaluation is not None
        measured = first.evaluation.candidate["cost"]
        assert first.metrics["cost"] == measured.value == _cost(first, weight=4.0)
        verdict = first.versions[0].gate
        assert verdict is not None and "cost <= 2" in [check.name for check in verdict.leaves()]
        _next_month(project)
        second = here.run("keep_fresh")
        assert [version.name for version in second.versions] == ["churn@2"]
        for part in "ab":
            _tick(here)
            _serve(here, part, {1: 0.5, 2: 0.4}, truth=0.0)
        _tick(here)
        rollout = _rollouts(here)[-1]
        assert (rollout.canary, rollout.state.value) == (2, "promoted")
        assert rollout.verdict is not None and "metric=cost" in str(rollout.verdict)
        _serve(here, "c", {2: 0.1}, truth=1.0)
        FileClock(project / "clock").set(NOON + timedelta(days=8))
        _tick(here)
        window = _windows(here)[-1]
        assert (window.monitor, window.verdict, window.result["metric"]) == (
            "churn_performance",
            "alarm",
            "cost",
        )
    told = everloop("models", "churn", "-C", project).out
    assert told.splitlines()[1].split()[:7] == ["version", "alias", "gate", "log", "loss", "AUC", "cost"]


def test_a_champion_that_another_version_of_it_has_measured_is_evaluated_anew(project: Path) -> None:
    """What was recorded is another number; the monitor holds live costs against the new one on the same test rows."""
    with ev.open(project) as here:
        first = here.run("keep_fresh")
        anew = _cost(first, weight=3.0)
        assert anew != pytest.approx(first.metrics["cost"])
    change(project / "churn.py", "4.0 * label", "3.0 * label")
    with ev.open(project) as here:
        _serve(here, "a", {1: 0.1}, truth=0.0)
        FileClock(project / "clock").set(NOON + timedelta(days=8))
        _tick(here)
        offline = _windows(here)[-1].result["offline"]
    assert isinstance(offline, dict)
    assert offline["value"] == pytest.approx(anew)


def test_two_metrics_of_one_name_are_refused(project: Path) -> None:
    """A number in a record is known by its name alone; so is one of ours."""
    change(project / "churn.py", 'ev.Metric("cost"', 'ev.Metric("brier"')
    with pytest.raises(ProjectError, match="two metrics named 'brier'"):
        ev.open(project)


def _cost(run: RunResult, *, weight: float) -> float:
    """The slow and obvious mean over the rows of the test."""
    model, rows = run.artifacts["train.output"], run.artifacts["split.test"]
    scores, labels = model.predict(rows), rows["left"].to_numpy()
    costs = [weight * (1 - s) if label else s for s, label in zip(scores, labels, strict=True)]
    return float(np.mean(costs))


def _next_month(project: Path) -> None:
    subprocess.run([sys.executable, "next_month.py"], cwd=project, check=True, capture_output=True)


def _tick(here: OpenProject) -> None:
    """What `everloop up` does again and again."""
    here._project.controller().tick()


def _serve(here: OpenProject, name: str, outputs: dict[int, float], *, truth: float) -> None:
    """A hundred and fifty requests as the server would log them, with their labels."""
    with here.workspace.database.read() as tx:
        traffic = find_traffic(tx, "churn")
    assert traffic is not None
    ids = ask(here.workspace, traffic, [f"{name}{n}" for n in range(150)], outputs=outputs)
    label(here.workspace, dict.fromkeys(ids, truth))


def _rollouts(here: OpenProject) -> list[Rollout]:
    with here.workspace.database.read() as tx:
        return list_rollouts(tx, "churn")


def _windows(here: OpenProject) -> list[MonitorWindow]:
    with here.workspace.database.read() as tx:
        return list_windows(tx, "churn_performance")
