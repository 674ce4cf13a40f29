"""Compare what the aliases say with what the endpoint does, and take one step towards it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from everloop.errors import InvalidInput
from everloop.records.events import EventType
from everloop.records.json import Json
from everloop.records.models import CHALLENGER, CHAMPION
from everloop.records.serving import Rollout, RolloutState
from everloop.registry.aliases import find_alias
from everloop.rollout.decisions import End, Move, State, Step, next_move
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.endpoints import find_running_rollout, find_traffic, was_rolled_out
from everloop.rollout.evidence import Evidence
from everloop.rollout.judge import Judge
from everloop.rollout.looks import Look, forget, has_leftovers, is_same, keep, look, recount, sweep
from everloop.rollout.moves import apply, emit
from everloop.rollout.plan import ALL_STABLE, Observed, Position
from everloop.storage.workspace import Workspace

_MANY = 20_000
"""Requests that are counted anew in no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """A rollout that is under way, and what was found of it just now."""

    rollout: Rollout
    judge: Judge | None
    observed: Observed
    look: Look | None = None
    """None when there is nobody to weigh the evidence, or when it cannot be had."""

    @property
    def is_whole(self) -> bool:
        """Nothing is left to be read before something is decided."""
        return self.look is None or self.look.whole


def reconcile(workspace: Workspace, endpoint: Endpoint) -> bool:
    """One step for one endpoint; says whether there may be more to do. Repeating it changes nothing more.

    A look pays for what is new. A verdict that ends a rollout is not left to what many looks have added up: everything is
    counted once more from the log, and where that differs, the log decides and an event says so.
    """
    with workspace.database.read() as tx:
        state = _read(tx, endpoint)
        trial, counted = None, None
        move = next_move(endpoint, state, None)  # by hand, say: nobody waits for evidence then
        if move is None and state.rollout is not None:
            trial = _observe(tx, workspace, endpoint, state.rollout)
            move, counted = _decide(tx, endpoint, state, trial)
        is_tidy = not has_leftovers(tx, endpoint.name)
    if move is None and counted is None and (trial is None or not _has_news(trial)):
        return not is_tidy and _sweep(workspace, endpoint)
    with workspace.database.write() as tx:
        if _read(tx, endpoint) != state or (trial is not None and not _keep(tx, trial)):
            return False  # somebody else took this step while we weighed the evidence
        if trial is not None and counted is not None:
            _start_over(tx, workspace, trial, counted)
        if move is not None:
            apply(tx, workspace, endpoint, state, move)
    return move is not None or (trial is not None and not trial.is_whole)


def settle(workspace: Workspace, endpoint: Endpoint) -> None:
    """All steps that can be taken now."""
    while reconcile(workspace, endpoint):
        pass


def _read(tx: Connection, endpoint: Endpoint) -> State:
    challenger = find_alias(tx, endpoint.model, CHALLENGER)
    return State(
        traffic=find_traffic(tx, endpoint.name),
        rollout=find_running_rollout(tx, endpoint.name),
        champion=find_alias(tx, endpoint.model, CHAMPION),
        challenger=challenger,
        tried=challenger is not None and was_rolled_out(tx, endpoint.name, endpoint.model, challenger),
    )


def _observe(tx: Connection, workspace: Workspace, endpoint: Endpoint, rollout: Rollout) -> _Trial:
    judge, elapsed = endpoint.rollout.judge, workspace.now() - rollout.started_at
    trial = _Trial(rollout=rollout, judge=judge, observed=Observed(elapsed=elapsed))
    if judge is None:
        return trial
    try:
        seen = look(tx, rollout, judge)
    except InvalidInput as error:  # of a user's metric, say
        return replace(trial, observed=Observed(elapsed=elapsed, trouble=error.reason))
    return replace(trial, look=seen, observed=Observed(elapsed=elapsed, evidence=seen.now.evidence))


def _decide(
    tx: Connection, endpoint: Endpoint, state: State, trial: _Trial
) -> tuple[Move | None, Evidence | None]:
    """What to do now; and the evidence of the log, where that is not what looks have counted."""
    if not trial.is_whole:
        return None, None
    move = next_move(endpoint, state, trial.observed)
    if not isinstance(move, End) or trial.look is None or trial.judge is None:
        return move, None
    if _must_hold(state, trial, move):
        return Step(position=Position(step=trial.rollout.step, split=ALL_STABLE), shadow=False), None
    try:
        counted = recount(tx, trial.rollout, trial.judge)
    except InvalidInput as error:
        return next_move(endpoint, state, replace(trial.observed, trouble=error.reason)), None
    move = next_move(endpoint, state, replace(trial.observed, evidence=counted))
    return move, None if is_same(trial.look.now.evidence, counted) else counted


def _must_hold(state: State, trial: _Trial, move: End) -> bool:
    """Counting many requests takes seconds: nobody shall be served by a canary meanwhile that looks have found to harm."""
    rolled_back = move.finished.state is RolloutState.ROLLED_BACK
    many = sum(trial.observed.evidence.requests.values()) > _MANY
    return rolled_back and many and state.traffic is not None and state.traffic.split != ALL_STABLE


def _sweep(workspace: Workspace, endpoint: Endpoint) -> bool:
    with workspace.database.write() as tx:
        return sweep(tx, endpoint.name)


def _has_news(trial: _Trial) -> bool:
    return trial.look is not None and trial.look.is_news


def _keep(tx: Connection, trial: _Trial) -> bool:
    """Write down what was looked at; False when somebody else has looked meanwhile."""
    if trial.look is None or trial.judge is None:
        return True
    return keep(tx, trial.rollout, trial.judge, trial.look)


def _start_over(tx: Connection, workspace: Workspace, trial: _Trial, counted: Evidence) -> None:
    """Looks have counted something else than the log says: it is told, and nothing that they kept is built on."""
    assert trial.judge is not None and trial.look is not None, "it was counted for a judge who has looked"
    told: Mapping[str, Json] = {
        "because": "what looks have added up is not what the log says; the log decides",
        "kept": dict(trial.judge(trial.look.now.evidence).numbers),
        "log": dict(trial.judge(counted).numbers),
    }
    suffix = f"-{trial.look.now.log_seq}-{trial.look.now.label_seq}"
    emit(tx, workspace, trial.rollout, EventType.ROLLOUT_RECOUNTED, told, suffix=suffix)
    forget(tx, trial.rollout)
