"""The ledger of reasons: every firing of every trigger, and why it did or did not start a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter

from sqlalchemy import Connection, select, update
from sqlalchemy.engine import RowMapping

from everloop.data.datasets import get_pin
from everloop.loop.decisions import Decision, Firing
from everloop.loop.triggers import ON_DEMAND
from everloop.metadata.runs import request_run
from everloop.pipelines.pipeline import Pipeline
from everloop.records.events import EventType
from everloop.records.json import Json, JsonObject
from everloop.records.runs import Run
from everloop.storage import ledger
from everloop.storage.database import in_groups, insert_once
from everloop.storage.schema import firings
from everloop.storage.workspace import Workspace


def run_on_demand(
    tx: Connection,
    workspace: Workspace,
    *,
    pipeline: str,
    params: JsonObject,
    who: str,
    reason: str,
    key: str,
    register: bool = True,
    data: Mapping[str, int] | None = None,
) -> Run:
    """Ask for a run by hand: it waits for nothing, and it is on the ledger like every other reason.

    `data` names versions of datasets to be read instead of the newest; NotFound for one that is not there.
    """
    for dataset, version in (data or {}).items():
        get_pin(tx, dataset, version)
    run = request_run(
        tx,
        workspace,
        pipeline=pipeline,
        key=f"{pipeline}/{ON_DEMAND}/{key}",
        trigger=ON_DEMAND,
        reason=reason,
        who=who,
        values=params,
        register=register,
        data=data,
    )
    firing = Firing(
        trigger=ON_DEMAND,
        key=f"{pipeline}/{key}",
        kind=ON_DEMAND,
        pipeline=pipeline,
        time=workspace.now(),
        reason=reason,
        decision=Decision.STARTED,
        because="asked for by hand",
        run_id=run.id,
    )
    if not list_known(tx, ON_DEMAND, [firing.key]):
        record(tx, workspace, firing)
    return run


def wants_register(
    pipeline: Pipeline,
    params: Mapping[str, Json],
    asked: bool | None = None,
    *,
    data: Mapping[str, int] | None = None,
) -> bool:
    """Whether a run that a person starts registers its models: an experiment is not a release.

    It is one with params of one's own, or on data that is not the newest, unless it was asked to register. A param without a
    default has to be given, so giving it makes no experiment.
    """
    if asked is not None:
        return asked
    defaults = {name: value for name, (_, value) in pipeline.params.items() if value is not Parameter.empty}
    return not data and all(params.get(name, value) == value for name, value in defaults.items())


def record(tx: Connection, workspace: Workspace, firing: Firing) -> None:
    """Write a firing or what has become of it, with an event for each decision on it."""
    plain = {name: getattr(firing, name) for name in firing.__slots__} | {"decision": firing.decision.value}
    here = (firings.c.trigger == firing.trigger) & (firings.c.key == firing.key)
    if not insert_once(tx, firings, plain):
        tx.execute(update(firings).where(here).values(**plain))
    details = {"kind": firing.kind, "reason": firing.reason, "because": firing.because, "run": firing.run_id}
    ledger.append(
        tx,
        workspace.event(
            EventType(f"trigger.{firing.decision.value}"),
            f"/triggers/{firing.pipeline}/{firing.kind}",
            firing.pipeline,
            details,
            id=f"{firing.trigger}-{firing.key.removeprefix(f'{firing.pipeline}/')}-{firing.decision.value}",
        ),
    )


def list_known(tx: Connection, trigger: str, keys: Sequence[str]) -> set[str]:
    """Those of these keys that this trigger has fired for; the same reason does not fire twice."""
    query = select(firings.c.key).where(firings.c.trigger == trigger)
    groups = (tx.execute(query.where(firings.c.key.in_(group))).scalars() for group in in_groups(keys))
    return {key for group in groups for key in group}


def list_firings(
    tx: Connection, pipeline: str | None = None, decision: Decision | None = None
) -> list[Firing]:
    """Firings, oldest first."""
    query = select(firings).order_by(firings.c.time, firings.c.trigger, firings.c.key)
    if pipeline is not None:
        query = query.where(firings.c.pipeline == pipeline)
    if decision is not None:
        query = query.where(firings.c.decision == decision.value)
    return [_record(row) for row in tx.execute(query).mappings()]


def _record(row: RowMapping) -> Firing:
    return Firing(**dict(row) | {"decision": Decision(row["decision"])})
