"""Do what was decided: alias, traffic, rollout and event in one transaction, so that the world sees all of it or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from everloop.monitoring.inference_log import last_seq
from everloop.records.checks import CheckResult
from everloop.records.events import EventType
from everloop.records.json import Json
from everloop.records.models import CHALLENGER
from everloop.records.serving import Rollout, RolloutState, Traffic
from everloop.registry.aliases import drop_alias, find_alias, promote
from everloop.rollout.decisions import Create, Decline, End, Follow, Move, Start, State, Step
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.endpoints import add_rollout, save_rollout, write_traffic
from everloop.rollout.plan import ALL_STABLE, Finished
from everloop.storage import ledger
from everloop.storage.workspace import Workspace

WHO = "everloop"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a move is made: the endpoint, and all that is there in the transaction in which it is made."""

    tx: Connection
    workspace: Workspace
    endpoint: Endpoint
    state: State

    @property
    def traffic(self) -> Traffic:
        """What the endpoint's server should do so far."""
        assert self.state.traffic is not None, "only `Create` is decided on without"
        return self.state.traffic

    @property
    def rollout(self) -> Rollout:
        """The one that is under way."""
        assert self.state.rollout is not None, "`Step` and `End` are decided on of one"
        return self.state.rollout


def apply(tx: Connection, workspace: Workspace, endpoint: Endpoint, state: State, move: Move) -> None:
    """Make a move that was decided on from this state, which still holds in the transaction."""
    _DO[type(move)](_Place(tx=tx, workspace=workspace, endpoint=endpoint, state=state), move)


def emit(
    tx: Connection,
    workspace: Workspace,
    rollout: Rollout,
    kind: EventType,
    data: Mapping[str, Json],
    suffix: str = "",
) -> None:
    """Tell of a rollout in the ledger."""
    event = workspace.event(
        kind,
        f"/endpoints/{rollout.endpoint}",
        f"{rollout.model}@{rollout.canary}",
        data,
        id=f"{rollout.id}-{kind}{suffix}",
    )
    ledger.append(tx, event)


def _create(at: _Place, move: Create) -> None:
    new = Traffic(
        endpoint=at.endpoint.name,
        model=at.endpoint.model,
        generation=1,
        stable=move.champion,
        canary=None,
        split=ALL_STABLE,
        salt="",
    )
    write_traffic(at.tx, new)


def _follow(at: _Place, move: Follow) -> None:
    if at.state.rollout is not None:
        _close(at, at.state.rollout, RolloutState.INCONCLUSIVE, move.verdict, {})
    write_traffic(at.tx, replace(_resting(at.traffic, move.champion), model=at.endpoint.model))


def _decline(at: _Place, move: Decline) -> None:
    drop_alias(at.tx, at.workspace, model=at.endpoint.model, alias=CHALLENGER, who=WHO, why=move.why)


def _start(at: _Place, move: Start) -> None:
    traffic, endpoint = at.traffic, at.endpoint
    log_seq = last_seq(at.tx)  # before it has a time: whatever arrives from then on stands behind it
    rollout = Rollout(
        id=f"{endpoint.name}-{endpoint.model}-{move.challenger}",
        endpoint=endpoint.name,
        model=endpoint.model,
        stable=traffic.stable,
        canary=move.challenger,
        state=RolloutState.RUNNING,
        step=0,
        started_at=at.workspace.now(),
        step_started_at=at.workspace.now(),
        log_seq=log_seq,
    )
    add_rollout(at.tx, rollout)
    told: Mapping[str, Json] = {"stable": traffic.stable, "canary": move.challenger}
    emit(at.tx, at.workspace, rollout, EventType.ROLLOUT_STARTED, told)
    if isinstance(move.begin, Finished):
        _finish(at, rollout, move.begin)
        return
    wanted = replace(
        traffic,
        generation=traffic.generation + 1,
        canary=move.challenger,
        split=move.begin.split,
        salt=rollout.id,  # a new salt for each rollout, so that nobody is always the guinea pig
        shadow=endpoint.rollout.shadow,
    )
    write_traffic(at.tx, wanted)


def _step(at: _Place, move: Step) -> None:
    rollout, position = at.rollout, move.position
    if position.step != rollout.step:
        save_rollout(at.tx, replace(rollout, step=position.step, step_started_at=at.workspace.now()))
        told: Mapping[str, Json] = {"step": position.step, "canary_percent": position.split.canary}
        emit(at.tx, at.workspace, rollout, EventType.ROLLOUT_STEPPED, told, suffix=f"-{position.step}")
    wanted = replace(at.traffic, split=position.split, shadow=move.shadow)
    write_traffic(at.tx, replace(wanted, generation=wanted.generation + 1))


def _end(at: _Place, move: End) -> None:
    _finish(at, at.rollout, move.finished)


def _finish(at: _Place, rollout: Rollout, end: Finished) -> None:
    tx, workspace, model, version = at.tx, at.workspace, rollout.model, rollout.canary
    promoted = end.state is RolloutState.PROMOTED
    if promoted:
        why = f"rollout {rollout.id}: {end.verdict.because}"
        promote(tx, workspace, model=model, version=version, who=WHO, why=why)
    elif find_alias(tx, model, CHALLENGER) == version:
        drop_alias(tx, workspace, model=model, alias=CHALLENGER, who=WHO, why=end.verdict.because)
    _close(at, rollout, end.state, end.verdict, end.numbers)
    write_traffic(tx, _resting(at.traffic, version if promoted else at.traffic.stable))


def _close(
    at: _Place, rollout: Rollout, state: RolloutState, verdict: CheckResult, numbers: Mapping[str, float]
) -> None:
    ended = replace(
        rollout, state=state, ended_at=at.workspace.now(), verdict=verdict, observed=dict(numbers)
    )
    save_rollout(at.tx, ended)
    told = {"stable": rollout.stable, "canary": rollout.canary, "because": verdict.because}
    emit(at.tx, at.workspace, ended, EventType(f"rollout.{state.value}"), told)


def _resting(traffic: Traffic, stable: int | None) -> Traffic:
    return replace(
        traffic,
        generation=traffic.generation + 1,
        stable=stable,
        canary=None,
        split=ALL_STABLE,
        shadow=False,
    )


_DO: Mapping[type[Move], Callable[[_Place, Any], None]] = {
    Create: _create,
    Follow: _follow,
    Decline: _decline,
    Start: _start,
    Step: _step,
    End: _end,
}
