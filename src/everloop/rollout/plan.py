"""How traffic gets to a new revision: what a plan sees, and what it may answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable

from everloop.records.checks import CheckResult
from everloop.records.serving import RolloutState, TrafficSplit
from everloop.rollout.evidence import Evidence
from everloop.rollout.judge import Judge

ALL_STABLE = TrafficSplit(stable=100)
ALL_CANARY = TrafficSplit(stable=0, canary=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a rollout has seen since it began."""

    evidence: Evidence = field(default_factory=Evidence)
    elapsed: timedelta
    trouble: str | None = None
    """Why there is no evidence, if it cannot be had: a metric of the user's breaks, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A rollout that goes on: its step, and the split to have in force."""

    step: int
    split: TrafficSplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A rollout that is over: how, where the traffic rests, and the verdict it ended on."""

    state: RolloutState
    split: TrafficSplit
    verdict: CheckResult
    numbers: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Plan(Protocol):
    """A pure function of where a rollout stands and what was observed; whoever drives it keeps only the step."""

    @property
    def judge(self) -> Judge | None:
        """Who weighs the evidence; without one, none is gathered."""

    @property
    def shadow(self) -> bool:
        """Whether both revisions score each request."""

    def begin(self) -> Position | Finished:
        """Where a rollout begins."""

    def advance(self, step: int, observed: Observed) -> Position | Finished:
        """Where it stands after this observation; the same arguments give the same answer, now and later."""
