"""Compare what the aliases say with what the endpoint does, and take one step towards it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from sqlalchemy import Connection

from everloop.errors import InvalidInput
from everloop.evaluation.measure import bounded_losses
from everloop.evaluation.metric import Metric
from everloop.monitoring.labels import Labelled, labelled
from everloop.records.checks import CheckResult
from everloop.records.events import EventType
from everloop.records.json import Json
from everloop.records.models import CHALLENGER, CHAMPION
from everloop.records.serving import Arm, Rollout, RolloutState, Traffic, Value
from everloop.registry.aliases import drop_alias, find_alias, promote
from everloop.rollout.canary import ALL_STABLE, AllAtOnce, Finished, Observed, Position, advance
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.endpoints import (
    add_rollout,
    find_running_rollout,
    find_traffic,
    list_rollouts,
    save_rollout,
    write_traffic,
)
from everloop.rollout.evidence import Evidence, ScoredRequest
from everloop.storage import ledger
from everloop.storage.workspace import Workspace

WHO = "everloop"
_Action = Callable[[Connection], object]
_Costs = Mapping[tuple[str, Arm], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Everything that one step depends on, the evidence apart."""

    traffic: Traffic | None
    rollout: Rollout | None
    champion: int | None
    challenger: int | None


def reconcile(workspace: Workspace, endpoint: Endpoint) -> bool:
    """One step for one endpoint; says whether anything changed. Repeating it changes nothing more.

    The aliases are what is wanted. A champion that was moved by hand is followed at once; a challenger gets a
    rollout, one at a time; the first model of all has nobody to be compared with and goes live.
    """
    with workspace.database.read() as tx:
        state = _read(tx, endpoint)
        action = _next(tx, workspace, endpoint, state)
    if action is None:
        return False
    with workspace.database.write() as tx:
        if _read(tx, endpoint) != state:
            return False  # somebody else took this step while we weighed the evidence
        action(tx)
    return True


def settle(workspace: Workspace, endpoint: Endpoint) -> None:
    """All steps that can be taken now."""
    while reconcile(workspace, endpoint):
        pass


def gather(tx: Connection, rollout: Rollout, metric: Metric | None) -> Evidence:
    """Everything that was seen of a rollout, from the inference log and the labels.

    What belongs to it is decided by model, version, share and arrival. The `time` and the `id` of a request are the client's
    choice: a canary that fails must not look well because its requests are dated last year.
    """
    rows = labelled(tx, endpoint=rollout.endpoint, arrived_since=rollout.started_at)
    known = [row for row in rows if _belongs(row, rollout)]
    known.sort(key=lambda row: row.prediction.id)
    costs = _costs(known, metric)
    groups = (list(group) for _, group in groupby(known, key=lambda row: row.prediction.id))
    return Evidence(tuple(request for group in groups if (request := _request(group, costs)) is not None))


def _belongs(row: Labelled, rollout: Rollout) -> bool:
    # A server that has not followed yet may still answer with the model that the endpoint named before.
    same_model = row.prediction.model == rollout.model
    return same_model and row.prediction.version in (rollout.canary, rollout.stable)


def _request(rows: list[Labelled], costs: _Costs) -> ScoredRequest | None:
    by_arm: Mapping[Arm, Labelled] = {row.prediction.arm: row for row in rows}
    assigned = by_arm.get(Arm.CANARY) or by_arm.get(Arm.STABLE)
    if assigned is None or not 0 < assigned.prediction.share < 100:
        return None  # answered when there was nothing to compare
    others = [row for row in rows if row.prediction.version != assigned.prediction.version]
    prediction = assigned.prediction
    return ScoredRequest(
        seq=prediction.seq,
        request_id=prediction.request_id,
        unit=prediction.unit,
        arm=prediction.arm,
        share=prediction.share,
        failed=prediction.failed,
        loss=_cost(assigned, costs),
        other_loss=_cost(others[0], costs) if others else None,
    )


def _cost(row: Labelled, costs: _Costs) -> float | None:
    return costs.get((row.prediction.id, row.prediction.arm))


def _costs(rows: Sequence[Labelled], metric: Metric | None) -> _Costs:
    """What each answer with a label cost, taken of all of them at once."""
    if metric is None:
        return {}
    known = [(row.prediction, row.label) for row in rows if isinstance(row.label, float)]
    answers = [_number(answer.output) for answer, _ in known]
    losses = bounded_losses(metric, answers, [label for _, label in known])
    return {(answer.id, answer.arm): loss for (answer, _), loss in zip(known, losses, strict=True)}


def _number(answer: Value | None) -> float | None:
    """An answer that is no number is as good as none to a loss of numbers."""
    return float(answer) if isinstance(answer, bool | int | float) else None


def _read(tx: Connection, endpoint: Endpoint) -> _State:
    return _State(
        traffic=find_traffic(tx, endpoint.name),
        rollout=find_running_rollout(tx, endpoint.name),
        champion=find_alias(tx, endpoint.model, CHAMPION),
        challenger=find_alias(tx, endpoint.model, CHALLENGER),
    )


def _next(tx: Connection, workspace: Workspace, endpoint: Endpoint, state: _State) -> _Action | None:
    """The one thing to do now, if there is any."""
    traffic, rollout = state.traffic, state.rollout
    if traffic is None:
        return partial(_create, endpoint=endpoint, champion=state.champion)
    if (traffic.model, traffic.stable) != (endpoint.model, state.champion):
        return partial(_follow, workspace=workspace, endpoint=endpoint, traffic=traffic, state=state)
    if rollout is not None:
        return _step(tx, workspace, endpoint, traffic, rollout)
    if state.challenger is not None:
        return _begin(tx, workspace, endpoint, traffic, state.challenger)
    return None


def _create(tx: Connection, *, endpoint: Endpoint, champion: int | None) -> None:
    new = Traffic(
        endpoint=endpoint.name,
        model=endpoint.model,
        generation=1,
        stable=champion,
        canary=None,
        split=ALL_STABLE,
        salt="",
    )
    write_traffic(tx, new)


def _follow(
    tx: Connection, *, workspace: Workspace, endpoint: Endpoint, traffic: Traffic, state: _State
) -> None:
    """The champion was moved by hand, or the endpoint now names another model: a comparison under way means nothing."""
    if state.rollout is not None:
        moved = "champion" if traffic.model == endpoint.model else "endpoint"
        champion = "nobody" if state.champion is None else f"{endpoint.model}@{state.champion}"
        because = f"the {moved} was moved to {champion} by hand"
        verdict = CheckResult(name="undisturbed", passed=False, because=because)
        _close(tx, workspace, state.rollout, RolloutState.INCONCLUSIVE, verdict, {})
    write_traffic(tx, replace(_resting(traffic, state.champion), model=endpoint.model))


def _begin(
    tx: Connection, workspace: Workspace, endpoint: Endpoint, traffic: Traffic, challenger: int
) -> _Action:
    tried = {
        rollout.canary for rollout in list_rollouts(tx, endpoint.name) if rollout.model == endpoint.model
    }
    if challenger == traffic.stable or challenger in tried:
        why = f"{endpoint.model}@{challenger} is champion or has had its rollout"
        return partial(
            drop_alias, workspace=workspace, model=endpoint.model, alias=CHALLENGER, who=WHO, why=why
        )
    return partial(_start, workspace=workspace, endpoint=endpoint, traffic=traffic, challenger=challenger)


def _start(
    tx: Connection, *, workspace: Workspace, endpoint: Endpoint, traffic: Traffic, challenger: int
) -> None:
    rollout = Rollout(
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
    add_rollout(tx, rollout)
    _emit(tx, workspace, rollout, EventType.ROLLOUT_STARTED, {"stable": traffic.stable, "canary": challenger})
    begin = _first_move(endpoint, traffic)
    if isinstance(begin, Finished):
        _promote(tx, workspace, traffic, rollout, begin)
        return
    salt = rollout.id  # a new salt for each rollout, so that nobody is always the guinea pig
    asked = replace(traffic, canary=challenger, split=begin.split, salt=salt, shadow=endpoint.rollout.shadow)
    write_traffic(tx, replace(asked, generation=traffic.generation + 1))


def _first_move(endpoint: Endpoint, traffic: Traffic) -> Position | Finished:
    if traffic.stable is not None:
        return endpoint.rollout.begin()
    verdict = CheckResult(name="first model", passed=True, because="there was no champion to compare it with")
    return Finished(state=RolloutState.PROMOTED, split=ALL_STABLE, verdict=verdict)


def _step(
    tx: Connection, workspace: Workspace, endpoint: Endpoint, traffic: Traffic, rollout: Rollout
) -> _Action | None:
    move = _weigh(tx, workspace, endpoint, rollout)
    if isinstance(move, Finished):
        return partial(_finish, workspace=workspace, traffic=traffic, rollout=rollout, move=move)
    wanted = replace(traffic, split=move.split, shadow=endpoint.rollout.shadow)
    if wanted == traffic and move.step == rollout.step:
        return None
    return partial(_go_on, workspace=workspace, traffic=wanted, rollout=rollout, move=move)


def _weigh(tx: Connection, workspace: Workspace, endpoint: Endpoint, rollout: Rollout) -> Position | Finished:
    plan = endpoint.rollout
    if isinstance(plan, AllAtOnce):
        return plan.begin()
    if rollout.step >= len(plan.steps):
        because = f"the plan has {len(plan.steps)} steps now, and the rollout was at step {rollout.step + 1}"
        verdict = CheckResult(name="same plan", passed=False, because=because)
        return Finished(state=RolloutState.INCONCLUSIVE, split=ALL_STABLE, verdict=verdict)
    try:
        evidence = gather(tx, rollout, plan.judge.metric)
    except InvalidInput as error:
        # Of a user's metric, say. As of a judge that cannot be evaluated, the answer is no.
        because = f"cannot be evaluated: {error.reason}"
        verdict = CheckResult(name=plan.judge.name, passed=False, because=because)
        return Finished(state=RolloutState.ROLLED_BACK, split=ALL_STABLE, verdict=verdict)
    elapsed = workspace.now() - rollout.started_at
    return advance(plan, plan.at(rollout.step), Observed(evidence=evidence, elapsed=elapsed))


def _finish(
    tx: Connection, *, workspace: Workspace, traffic: Traffic, rollout: Rollout, move: Finished
) -> None:
    if move.state is RolloutState.PROMOTED:
        _promote(tx, workspace, traffic, rollout, move)
        return
    if find_alias(tx, rollout.model, CHALLENGER) == rollout.canary:
        why = move.verdict.because
        drop_alias(tx, workspace, model=rollout.model, alias=CHALLENGER, who=WHO, why=why)
    _close(tx, workspace, rollout, move.state, move.verdict, move.numbers)
    write_traffic(tx, _resting(traffic, traffic.stable))


def _go_on(
    tx: Connection, *, workspace: Workspace, traffic: Traffic, rollout: Rollout, move: Position
) -> None:
    if move.step != rollout.step:
        save_rollout(tx, replace(rollout, step=move.step, step_started_at=workspace.now()))
        details: Mapping[str, Json] = {"step": move.step, "canary_percent": move.split.canary}
        _emit(tx, workspace, rollout, EventType.ROLLOUT_STEPPED, details, suffix=f"-{move.step}")
    write_traffic(tx, replace(traffic, generation=traffic.generation + 1))


def _promote(tx: Connection, workspace: Workspace, traffic: Traffic, rollout: Rollout, end: Finished) -> None:
    """Alias, traffic, rollout and event in one transaction: the world sees all of it or none."""
    why = f"rollout {rollout.id}: {end.verdict.because}"
    model, version = rollout.model, rollout.canary
    promote(tx, workspace, model=model, version=version, who=WHO, why=why)
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
    details = {"stable": rollout.stable, "canary": rollout.canary, "because": verdict.because}
    _emit(tx, workspace, ended, EventType(f"rollout.{state.value}"), details)


def _resting(traffic: Traffic, stable: int | None) -> Traffic:
    return replace(
        traffic,
        generation=traffic.generation + 1,
        stable=stable,
        canary=None,
        split=ALL_STABLE,
        shadow=False,
    )


def _emit(
    tx: Connection,
    workspace: Workspace,
    rollout: Rollout,
    kind: EventType,
    data: Mapping[str, Json],
    suffix: str = "",
) -> None:
    event = workspace.event(
        kind,
        f"/endpoints/{rollout.endpoint}",
        f"{rollout.model}@{rollout.canary}",
        data,
        id=f"{rollout.id}-{kind}{suffix}",
    )
    ledger.append(tx, event)
