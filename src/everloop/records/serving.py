"""What passes through an endpoint: predictions, labels, splits and rollouts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from everloop.records.checks import CheckResult
from everloop.records.json import Json

Scalar = bool | int | float | str | None


class Arm(StrEnum):
    """Which side of a rollout gave an answer; SHADOW scored a request and did not answer it."""

    STABLE = "stable"
    CANARY = "canary"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How one endpoint's requests are shared between two revisions, in percent."""

    stable: int
    canary: int = 0

    def shifted(self, canary: int) -> "Split":
        """The same traffic with this much of it on the canary."""
        return replace(self, stable=100 - canary, canary=canary)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What an endpoint's server should do now: the spec that a controller writes and a server follows."""

    endpoint: str
    model: str
    generation: int
    """Raised by every change; the server reports the generation it has put into effect."""
    stable: int | None
    canary: int | None
    split: Split
    salt: str
    shadow: bool = False
    """Score each request with both revisions while a rollout is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One row that was scored: what was asked, by which revision it was answered, and what came out."""

    id: str
    request_id: str
    unit: str
    """Who was assigned to an arm: a user, a session, or the request itself."""
    endpoint: str
    model: str
    version: int
    arm: Arm
    share: int
    """Percent of traffic that the answering arm had at that moment."""
    time: datetime
    inputs: Mapping[str, Scalar]
    output: float | None
    status: int
    """HTTP status the revision earned; a canary's failure is kept though the stable revision answered."""
    error: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The true answer to a prediction, whenever it came."""

    prediction_id: str
    value: float
    time: datetime


class RolloutState(StrEnum):
    """Where a rollout is."""

    RUNNING = "running"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One attempt to make a challenger the champion."""

    id: str
    endpoint: str
    model: str
    stable: int | None
    canary: int
    state: RolloutState
    step: int
    started_at: datetime
    step_started_at: datetime
    ended_at: datetime | None = None
    verdict: CheckResult | None = None
    observed: Mapping[str, Json] = field(default_factory=dict)
