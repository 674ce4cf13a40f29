"""Compare what the aliases say with what the endpoint does, and take one step towards it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import groupby

from sqlalchemy import Connection

from everloop.monitoring.labels import Labelled, labelled
from everloop.records.checks import CheckResult
from everloop.records.models import CHALLENGER, CHAMPION
from everloop.records.serving import Arm, Rollout, RolloutState, Split, Traffic
from everloop.registry.aliases import drop_alias, find_alias, move_alias
from everloop.rollout.canary import Canary, Finished, Observed, Position, advance
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.endpoints import (
    add_rollout,
    list_rollouts,
    read_traffic,
    running_rollout,
    save_rollout,
    write_traffic,
)
from everloop.rollout.evidence import Evidence, Loss, Outcome, loss
from everloop.storage import ledger
from everloop.storage.workspace import Workspace

WHO = "everloop"
_STILL = Split(stable=100)


def reconcile(workspace: Workspace, endpoint: Endpoint) -> bool:
    """One step for one endpoint; says whether anything changed. Repeating it changes nothing more.

    The aliases are what is wanted. A champion that was moved by hand is followed at once; a challenger gets a
    rollout, one at a time; the first model of all has nobody to be compared with and goes live.
    """
    with workspace.database.read() as tx:
        rollout = running_rollout(tx, endpoint.name)
        move = None if rollout is None else _advance(tx, workspace, endpoint, rollout)
    with workspace.database.write() as tx:
        traffic = read_traffic(tx, endpoint.name)
        if traffic is None:
            _create(tx, endpoint)
            return True
        if rollout is not None and running_rollout(tx, endpoint.name) != rollout:
            return False  # somebody else took this step while we weighed the evidence
        if _follow_champion(tx, workspace, endpoint, traffic, rollout):
            return True
        if rollout is not None and move is not None:
            return _apply(tx, workspace, endpoint, traffic, rollout, move)
        return rollout is None and _begin(tx, workspace, endpoint, traffic)


def gather(tx: Connection, rollout: Rollout, measure: Loss | None) -> Evidence:
    """Everything that was seen of a rollout, from the inference log and the labels."""
    rows = labelled(tx, endpoint=rollout.endpoint, since=rollout.started_at)
    known = [row for row in rows if row.prediction.version in (rollout.canary, rollout.stable)]
    known.sort(key=lambda row: row.prediction.id)
    groups = (list(group) for _, group in groupby(known, key=lambda row: row.prediction.id))
    return Evidence(
        tuple(outcome for group in groups if (outcome := _outcome(group, rollout, measure)) is not None)
    )


def _outcome(rows: list[Labelled], rollout: Rollout, measure: Loss | None) -> Outcome | None:
    by_arm: Mapping[Arm, Labelled] = {row.prediction.arm: row for row in rows}
    assigned = by_arm.get(Arm.CANARY) or by_arm.get(Arm.STABLE)
    if assigned is None or not 0 < assigned.prediction.share < 100:
        return None  # answered when there was nothing to compare
    others = [row for row in rows if row.prediction.version != assigned.prediction.version]
    prediction = assigned.prediction
    return Outcome(
        time=prediction.time,
        request_id=prediction.request_id,
        unit=prediction.unit,
        arm=prediction.arm,
        share=prediction.share,
        failed=prediction.status >= 500,
        loss=_cost(assigned, measure),
        other_loss=_cost(others[0], measure) if others else None,
    )


def _cost(row: Labelled, measure: Loss | None) -> float | None:
    return None if measure is None or row.label is None else measure(row.prediction.output, row.label)


def _advance(
    tx: Connection, workspace: Workspace, endpoint: Endpoint, rollout: Rollout
) -> Position | Finished | None:
    plan = endpoint.rollout
    if not isinstance(plan, Canary):
        return plan.begin()
    name = plan.judge.loss
    evidence = gather(tx, rollout, None if name is None else loss(name))
    elapsed = (workspace.now() - rollout.started_at) / timedelta(days=1)
    return advance(plan, plan.at(rollout.step), Observed(evidence=evidence, elapsed_days=elapsed))


def _create(tx: Connection, endpoint: Endpoint) -> None:
    champion = find_alias(tx, endpoint.model, CHAMPION)
    fresh = Traffic(
        endpoint=endpoint.name,
        model=endpoint.model,
        generation=1,
        stable=champion,
        canary=None,
        split=_STILL,
        salt="",
    )
    write_traffic(tx, fresh)


def _follow_champion(
    tx: Connection, workspace: Workspace, endpoint: Endpoint, traffic: Traffic, rollout: Rollout | None
) -> bool:
    champion = find_alias(tx, endpoint.model, CHAMPION)
    if champion == traffic.stable:
        return False
    if rollout is not None:
        because = f"the champion was moved to {endpoint.model}@{champion} by hand"
        verdict = CheckResult(name="undisturbed", passed=False, because=because)
        _close(tx, workspace, rollout, RolloutState.INCONCLUSIVE, verdict, {})
    write_traffic(tx, _resting(traffic, champion))
    return True


def _begin(tx: Connection, workspace: Workspace, endpoint: Endpoint, traffic: Traffic) -> bool:
    challenger = find_alias(tx, endpoint.model, CHALLENGER)
    if challenger is None:
        return False
    if challenger == traffic.stable or any(r.canary == challenger for r in list_rollouts(tx, endpoint.name)):
        why = f"{endpoint.model}@{challenger} is champion or has had its rollout"
        drop_alias(tx, workspace, model=endpoint.model, alias=CHALLENGER, who=WHO, why=why)
        return True
    rollout = _fresh(workspace, endpoint, traffic, challenger)
    add_rollout(tx, rollout)
    told = {"stable": traffic.stable, "canary": challenger}
    _tell(tx, workspace, rollout, "rollout.started", told)
    plan = endpoint.rollout
    if traffic.stable is None or not isinstance(plan, Canary):
        because = (
            "there was no champion to compare it with"
            if traffic.stable is None
            else "the plan compares nothing"
        )
        verdict = CheckResult(
            name="first model" if traffic.stable is None else "all at once", passed=True, because=because
        )
        _promote(
            tx,
            workspace,
            traffic,
            rollout,
            Finished(state=RolloutState.PROMOTED, split=_STILL, verdict=verdict),
        )
        return True
    write_traffic(
        tx,
        replace(
            traffic,
            generation=traffic.generation + 1,
            canary=challenger,
            split=plan.begin().split,
            salt=rollout.id,  # a new salt for each rollout, so that nobody is always the guinea pig
            shadow=plan.shadow,
        ),
    )
    return True


def _fresh(workspace: Workspace, endpoint: Endpoint, traffic: Traffic, challenger: int) -> Rollout:
    return Rollout(
        id=f"{endpoint.name}-{endpoint.model}-{challenger}",
        endpoint=endpoint.name,
        model=endpoint.model,
        stable=traffic.stable,
        canary=challenger,
        state=RolloutState.RUNNING,
        step=0,
        started_at=workspace.now(),
        step_started_at=workspace.now(),
    )


def _apply(
    tx: Connection,
    workspace: Workspace,
    endpoint: Endpoint,
    traffic: Traffic,
    rollout: Rollout,
    move: Position | Finished,
) -> bool:
    if isinstance(move, Position):
        return _step(tx, workspace, traffic, rollout, move)
    if move.state is RolloutState.PROMOTED:
        _promote(tx, workspace, traffic, rollout, move)
        return True
    why = move.verdict.because
    if find_alias(tx, endpoint.model, CHALLENGER) == rollout.canary:
        drop_alias(tx, workspace, model=endpoint.model, alias=CHALLENGER, who=WHO, why=why)
    _close(tx, workspace, rollout, move.state, move.verdict, move.numbers)
    write_traffic(tx, _resting(traffic, traffic.stable))
    return True


def _step(tx: Connection, workspace: Workspace, traffic: Traffic, rollout: Rollout, move: Position) -> bool:
    if move.step == rollout.step:
        return False
    save_rollout(tx, replace(rollout, step=move.step, step_started_at=workspace.now()))
    write_traffic(tx, replace(traffic, generation=traffic.generation + 1, split=move.split))
    told = {"step": move.step, "canary_percent": move.split.canary}
    _tell(tx, workspace, rollout, "rollout.stepped", told, suffix=f"-{move.step}")
    return True


def _promote(tx: Connection, workspace: Workspace, traffic: Traffic, rollout: Rollout, end: Finished) -> None:
    """Alias, traffic, rollout and event in one transaction: the world sees all of it or none."""
    why = f"rollout {rollout.id}: {end.verdict.because}"
    model, version = rollout.model, rollout.canary
    move_alias(tx, workspace, model=model, alias=CHAMPION, version=version, who=WHO, why=why)
    if find_alias(tx, model, CHALLENGER) == version:
        drop_alias(tx, workspace, model=model, alias=CHALLENGER, who=WHO, why="it became champion")
    _close(tx, workspace, rollout, RolloutState.PROMOTED, end.verdict, end.numbers)
    write_traffic(tx, _resting(traffic, version))


def _close(
    tx: Connection,
    workspace: Workspace,
    rollout: Rollout,
    state: RolloutState,
    verdict: CheckResult,
    numbers: Mapping[str, float],
) -> None:
    ended = replace(rollout, state=state, ended_at=workspace.now(), verdict=verdict, observed=dict(numbers))
    save_rollout(tx, ended)
    told = {"stable": rollout.stable, "canary": rollout.canary, "because": verdict.because}
    _tell(tx, workspace, ended, f"rollout.{state.value}", told)


def _resting(traffic: Traffic, stable: int | None) -> Traffic:
    return replace(
        traffic,
        generation=traffic.generation + 1,
        stable=stable,
        canary=None,
        split=_STILL,
        shadow=False,
    )


def _tell(
    tx: Connection,
    workspace: Workspace,
    rollout: Rollout,
    kind: str,
    data: Mapping[str, object],
    suffix: str = "",
) -> None:
    event = workspace.event(
        kind,
        f"/endpoints/{rollout.endpoint}",
        f"{rollout.model}@{rollout.canary}",
        data,  # type: ignore[arg-type]
        id=f"{rollout.id}-{kind}{suffix}",
    )
    ledger.append(tx, event)
