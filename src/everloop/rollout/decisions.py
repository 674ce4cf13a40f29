"""From what is wanted and what there is to the one thing to do next: pure functions, so that a rollout runs in a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from everloop.records.checks import CheckResult
from everloop.records.serving import Rollout, RolloutState, Traffic
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.plan import ALL_STABLE, Finished, Observed, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that a decision depends on, what was observed apart."""

    traffic: Traffic | None
    rollout: Rollout | None
    """The one that is under way."""
    champion: int | None
    challenger: int | None
    tried: bool
    """The challenger has had its rollout at this endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """The endpoint is seen for the first time."""

    champion: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """The champion was moved by hand, or the endpoint now names another model."""

    champion: int | None
    verdict: CheckResult
    """On a comparison that was under way: it means nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """The challenger gets no rollout."""

    challenger: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The challenger gets its rollout; where that begins may be its end."""

    challenger: int
    begin: Position | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The rollout goes on, at another step or with another split."""

    position: Position
    shadow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The rollout is over."""

    finished: Finished


Move: TypeAlias = Create | Follow | Decline | Start | Step | End


def next_move(endpoint: Endpoint, state: State, observed: Observed | None) -> Move | None:
    """The one thing to do now; None when all is as it should be. `observed` is of the rollout that is under way.

    The aliases are what is wanted. A champion that was moved by hand is followed at once; a challenger gets a
    rollout, one at a time; the first model of all has nobody to be compared with and goes live.
    """
    traffic = state.traffic
    if traffic is None:
        return Create(champion=state.champion)
    if (traffic.model, traffic.stable) != (endpoint.model, state.champion):
        return Follow(champion=state.champion, verdict=_disturbed(endpoint, state.champion, traffic))
    if state.rollout is not None and observed is not None:
        return _advance(endpoint, traffic, state.rollout, observed)
    if state.rollout is None and state.challenger is not None:
        return _begin(endpoint, traffic, state.challenger, tried=state.tried)
    return None


def _disturbed(endpoint: Endpoint, champion: int | None, traffic: Traffic) -> CheckResult:
    moved = "champion" if traffic.model == endpoint.model else "endpoint"
    now = "nobody" if champion is None else f"{endpoint.model}@{champion}"
    return CheckResult(name="undisturbed", passed=False, because=f"the {moved} was moved to {now} by hand")


def _begin(endpoint: Endpoint, traffic: Traffic, challenger: int, *, tried: bool) -> Move:
    if challenger == traffic.stable or tried:
        why = f"{endpoint.model}@{challenger} is champion or has had its rollout"
        return Decline(challenger=challenger, why=why)
    if traffic.stable is not None:
        return Start(challenger=challenger, begin=endpoint.rollout.begin())
    because = "there was no champion to compare it with"
    verdict = CheckResult(name="first model", passed=True, because=because)
    first = Finished(state=RolloutState.PROMOTED, split=ALL_STABLE, verdict=verdict)
    return Start(challenger=challenger, begin=first)


def _advance(endpoint: Endpoint, traffic: Traffic, rollout: Rollout, observed: Observed) -> Move | None:
    plan = endpoint.rollout
    found = plan.advance(rollout.step, observed)
    if isinstance(found, Finished):
        return End(finished=found)
    same = (traffic.split, traffic.shadow, rollout.step) == (found.split, plan.shadow, found.step)
    return None if same else Step(position=found, shadow=plan.shadow)
