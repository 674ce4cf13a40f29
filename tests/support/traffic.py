"""Registered versions, requests and labels as rows, made in a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from everloop.metadata.runs import request_run
from everloop.monitoring.inference_log import insert_predictions
from everloop.monitoring.labels import record_labels
from everloop.records.checks import CheckResult
from everloop.records.models import Datatype, Field, Signature
from everloop.records.serving import Arm, Label, Outcome, Prediction, Scalar, Traffic
from everloop.registry.aliases import move_alias
from everloop.registry.versions import register_version
from everloop.rollout.routing import arm
from everloop.storage.workspace import Workspace

SIGNATURE = Signature(
    inputs=(Field(name="x", datatype=Datatype.FP64, nullable=True),),
    outputs=(Field(name="late", datatype=Datatype.FP64),),
)


def register(
    workspace: Workspace,
    version: int,
    *,
    model: str = "late",
    signature: Signature = SIGNATURE,
    metrics: Mapping[str, float] | None = None,
    alias: str | None = None,
    digest: str = "",
) -> str:
    """Register the next version, which passed its gate, from a run of its own; returns the run's id."""
    with workspace.database.write() as tx:
        run = request_run(
            tx,
            workspace,
            pipeline="train",
            key=f"{model}-{version}",
            trigger="on_demand",
            reason="a test",
            who="a test",
            values={},
        )
        made = register_version(
            tx,
            workspace,
            model=model,
            digest=digest or f"{version:064}",
            flavor="sklearn",
            signature=signature,
            gate=CheckResult(name="gate", passed=True, because="a test"),
            run_id=run.id,
            metrics=metrics or {},
            facts={},
        )
        assert made.version == version
        if alias is not None:
            move_alias(tx, workspace, model=model, alias=alias, version=version, who="ann", why="a test")
    return run.id


def point(workspace: Workspace, alias: str, version: int, *, model: str = "late") -> None:
    """Point an alias at a version by hand."""
    with workspace.database.write() as tx:
        move_alias(tx, workspace, model=model, alias=alias, version=version, who="ann", why="a test")


def prediction(
    id: str,
    *,
    time: datetime,
    version: int,
    output: float | None = 0.5,
    failed: bool = False,
    **other: Any,
) -> Prediction:
    """One row of the inference log: answered by the only revision as soon as it happened, unless told otherwise."""
    given: dict[str, Any] = {
        "request_id": id,
        "unit": id,
        "endpoint": "late",
        "model": "late",
        "arm": Arm.STABLE,
        "share": 100,
        "arrived_at": time,
        "inputs": {"x": 1.0},
        "outputs": None if output is None else {"late": output},
        "outcome": Outcome.FAILED if failed else Outcome.ANSWERED,
        "error": None,
        "seconds": 0.001,
    }
    return Prediction(id=id, time=time, version=version, **{**given, **other})


def log(workspace: Workspace, rows: Iterable[Prediction]) -> None:
    """Write them as the server does."""
    with workspace.database.log() as tx:
        insert_predictions(tx, list(rows))


def label(workspace: Workspace, values: Mapping[str, float], *, time: datetime | None = None) -> None:
    """The true answers to these predictions."""
    given = [
        Label(prediction_id=id, value=value, time=time or workspace.now()) for id, value in values.items()
    ]
    with workspace.database.write() as tx:
        record_labels(tx, given, workspace.now())


def ask(
    workspace: Workspace,
    traffic: Traffic,
    ids: Iterable[str],
    *,
    outputs: Mapping[int, float] | None = None,
    inputs: Mapping[str, Scalar] | None = None,
    failing: int | None = None,
) -> list[str]:
    """Requests as a server would log them under this traffic; a failing canary is answered for by the stable revision."""
    names = list(ids)
    for place, id in enumerate(names):
        log(workspace, _answers(workspace, traffic, id, place, outputs or {}, inputs or {"x": 1.0}, failing))
    return names


def _answers(
    workspace: Workspace,
    traffic: Traffic,
    id: str,
    place: int,
    outputs: Mapping[int, float],
    inputs: Mapping[str, Scalar],
    failing: int | None,
) -> list[Prediction]:
    stable, canary, split = traffic.stable, traffic.canary, traffic.split
    assert stable is not None
    assigned = Arm.STABLE if canary is None else arm(id, traffic.salt, split.canary)
    first, other = (canary, stable) if assigned is Arm.CANARY else (stable, canary)
    assert first is not None
    share = split.canary if assigned is Arm.CANARY else split.stable
    time = workspace.now() + timedelta(microseconds=place)

    def row(version: int, which: Arm, percent: int) -> Prediction:
        failed = version == failing
        return prediction(
            id,
            time=time,
            version=version,
            endpoint=traffic.endpoint,
            model=traffic.model,
            arm=which,
            share=percent,
            inputs=inputs,
            output=None if failed else outputs.get(version, 0.5),
            failed=failed,
            error="it broke" if failed else None,
        )

    if assigned is Arm.CANARY and first == failing:
        return [row(first, Arm.CANARY, share), row(stable, Arm.STABLE, split.stable)]
    rows = [row(first, assigned, share)]
    return rows if other is None or not traffic.shadow else [*rows, row(other, Arm.SHADOW, share)]
