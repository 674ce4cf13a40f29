"""One whole cycle of a small project, written so that a process may die anywhere in it and another begin again.

Run as a program it is a nursery: it imports everything once, and for each line "ROOT" on its standard input it
forks a child that lives the cycle of that folder. It prints the child's process id, and later how the child ended.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

# Threads do not survive a fork, so no library may start its own before the children are made.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import alembic.command
import lightgbm as lgb
import numpy as np
import pyarrow as pa

from everloop import (
    Canary,
    Check,
    Dataset,
    Endpoint,
    Model,
    RegisteredModel,
    Triggers,
    error_rate,
    infer_signature,
    matrix,
    not_null,
    on_new_data,
    pipeline,
    quality,
    register,
    step,
)
from everloop.clock import FileClock
from everloop.data.datasets import append
from everloop.loop.controller import Controller
from everloop.metadata import provenance
from everloop.monitoring.inference_log import insert_predictions
from everloop.monitoring.labels import record_labels
from everloop.pipelines.worker import Worker
from everloop.records.runs import Run, StepRun
from everloop.records.serving import Arm, Label, Outcome, Prediction, Traffic
from everloop.rollout.endpoints import find_traffic
from everloop.rollout.routing import arm
from everloop.settings import ClockSettings, Settings
from everloop.storage.workspace import Workspace, open_workspace

BEGIN = datetime(2013, 1, 1, tzinfo=UTC)
REQUESTS = 120

visits = Dataset("visits", keys=["id"], event_time="at", expect=[not_null("x")])
passes = Check[float]("passes", lambda score: (score >= 0, f"{score:.2f} against 0"))
bought = RegisteredModel("bought", gate=passes)


@step
def arrange(visits: pa.Table) -> pa.Table:
    """All rows, in order."""
    return visits.sort_by("id")


@step
def train(rows: pa.Table) -> Model:
    """A few small trees."""
    signature = infer_signature(rows, inputs=["x"])
    params = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "deterministic": True,
        "min_data_in_leaf": 5,
    }
    booster = lgb.train(params, lgb.Dataset(matrix(signature, rows), rows["y"].to_numpy()), 5)
    return Model(booster, signature)


@step
def evaluate(model: Model, rows: pa.Table) -> float:
    """The gate always passes it: this test is about dying, not about models."""
    return float(model.predict(rows).mean())


@pipeline
def keep_fresh() -> None:
    """From rows to a challenger."""
    rows = arrange(visits.rows)
    model = train(rows)
    register(bought, model, evaluate(model, rows))


endpoint = Endpoint(
    "bought",
    model=bought,
    rollout=Canary(steps=[50], min_requests=60, judge=error_rate(margin=0.3) & quality(margin=0.3)),
)
triggers = Triggers(keep_fresh, on_new_data(visits, rows=100), cooldown=timedelta(0))


def settings(root: Path) -> Settings:
    """The project's settings, with a clock that every life of the process shares."""
    return Settings(root=root, module="cycle", clock=ClockSettings(file=".everloop/clock"))


def live(root: Path) -> None:
    """The cycle: a first model, new data, a second model, its canary, its promotion. Begins again where it must."""
    clock = root / ".everloop" / "clock"
    _reach(clock, 0)
    workspace = open_workspace(settings(root))
    worker = Worker(workspace, {keep_fresh.name: keep_fresh}, progress=_silent)
    controller = Controller(
        workspace=workspace,
        datasets=[visits],
        pipelines=[keep_fresh],
        endpoints=[endpoint],
        monitors=[],
        triggers=[triggers],
    )
    for day in (0, 1):
        _reach(clock, day)
        append(workspace, visits, rows(day), key=f"day-{day}")
        controller.tick()
        while worker.run_next() is not None:
            pass
        controller.tick()
    _reach(clock, 2)
    _serve(workspace)
    _reach(clock, 3)
    controller.tick()
    worker.close()
    workspace.close()


def rows(day: int) -> pa.Table:
    """A batch that is the same in every life."""
    random = np.random.default_rng(day)
    x = random.normal(size=100)
    y = (x + random.normal(size=100) > 0).astype(np.int64)
    times = pa.array([BEGIN + timedelta(days=day, seconds=n) for n in range(100)], pa.timestamp("us", "UTC"))
    return pa.table({"id": np.arange(100) + 100 * day, "at": times, "x": x, "y": y})


def _serve(workspace: Workspace) -> None:
    """Requests of day 2, as a server would have logged them, and their labels."""
    with workspace.database.read() as tx:
        traffic = find_traffic(tx, endpoint.name)
    if traffic is None or traffic.canary is None:
        return  # an earlier life has been here and the rollout is over
    predictions = [p for number in range(REQUESTS) for p in _answers(traffic, number)]
    labels = [Label(prediction_id=f"p{n}", value=float(n % 2), time=_time(2, n)) for n in range(REQUESTS)]
    with workspace.database.log() as tx:
        insert_predictions(tx, predictions)
    with workspace.database.write() as tx:
        record_labels(tx, labels, workspace.now())


def _answers(traffic: Traffic, number: int) -> Iterator[Prediction]:
    assigned = arm(f"r{number}", traffic.salt, traffic.split.canary)
    share = traffic.split.canary if assigned is Arm.CANARY else traffic.split.stable
    stable, canary = traffic.stable, traffic.canary
    assert stable is not None and canary is not None
    answering, looking_on = (canary, stable) if assigned is Arm.CANARY else (stable, canary)
    for which, version in ((assigned, answering), (Arm.SHADOW, looking_on)):
        yield Prediction(
            id=f"p{number}",
            request_id=f"r{number}",
            unit=f"r{number}",
            endpoint=endpoint.name,
            model=traffic.model,
            version=version,
            arm=which,
            share=share,
            time=_time(2, number),
            inputs={"x": 0.0},
            arrived_at=_time(2, number),
            outputs={"score": 0.5},
            outcome=Outcome.ANSWERED,
            error=None,
            seconds=0.001,
        )


def _time(day: int, second: int) -> datetime:
    return BEGIN + timedelta(days=day, seconds=second)


def _reach(path: Path, day: int) -> None:
    clock, wanted = FileClock(path), BEGIN + timedelta(days=day)
    if not path.exists() or clock() < wanted:
        clock.set(wanted)


def _silent(run: Run, step: StepRun) -> None:
    """Nobody watches."""


def _nurse() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _live_and_leave(Path(line.strip()))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _live_and_leave(root: Path) -> None:
    try:
        live(root)
    except BaseException:  # noqa: BLE001 - the child must never go on as its parent
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    # Done here, so that the children die over their work and not over getting ready for it.
    assert alembic.command and provenance.environment()
    _nurse()
