"""What passes through an endpoint: predictions, labels, traffic and rollouts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from everloop.errors import InvalidInput
from everloop.records.checks import CheckResult
from everloop.records.json import Json

Scalar = bool | int | float | str | None
Value: TypeAlias = "bool | int | float | str | Sequence[Value]"
"""One output of one row: a single value, or as many as the field's shape says, nested like it."""
LabelValue: TypeAlias = "float | str | Sequence[LabelValue]"
"""A true answer: a number, a text, or a list of them."""


class Arm(StrEnum):
    """Which side of a rollout gave an answer; SHADOW scored a request and did not answer it."""

    STABLE = "stable"
    CANARY = "canary"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSplit:
    """How one endpoint's requests are shared between two revisions, in percent."""

    stable: int
    canary: int = 0

    def shifted(self, canary: int) -> TrafficSplit:
        """The same traffic with this much of it on the canary."""
        return replace(self, stable=100 - canary, canary=canary)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What an endpoint's server should do now: the spec that a controller writes and a server follows."""

    endpoint: str
    model: str
    generation: int
    """Raised by every change; each server reports the generation that it has put into effect."""
    stable: int | None
    canary: int | None
    split: TrafficSplit
    salt: str
    shadow: bool = False
    """Score each request with both revisions while a rollout is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """What one server has put into effect of one endpoint; it counts as long as the server lives."""

    server: str
    """The name that it holds while it lives."""
    endpoint: str
    generation: int
    """Of the traffic in effect; 0 before there is one."""
    reported_at: datetime


class Outcome(StrEnum):
    """What became of a row at one revision; a canary's failure is kept though the stable revision answered."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """The request does not carry what this revision's signature asks for."""
    FAILED = "failed"
    """The model raised, or its answer is no answer."""


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
    """When the thing that was asked about happened, by the client's word; it dates the fact and decides nothing."""
    arrived_at: datetime
    """When the request came, by the server's clock."""
    inputs: Mapping[str, Scalar]
    outputs: Mapping[str, Value] | None
    """A value for each output of the signature, the main one first; None when there is no answer."""
    outcome: Outcome
    error: str | None
    seconds: float
    seq: int = field(default=0, compare=False)
    """Place in the inference log, in the order of arrival; 0 until it has been written."""

    @property
    def failed(self) -> bool:
        """The revision gave no answer, whether it refused or broke."""
        return self.outcome is not Outcome.ANSWERED

    @property
    def output(self) -> Value | None:
        """The main output; None when there is no answer."""
        return None if self.outputs is None else next(iter(self.outputs.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The true answer to a prediction, whenever it came: a number, a text, or a list of them.

    Every number is kept as a float, so that 1, 1.0 and True are one answer. Raises InvalidInput for one that is not finite.
    """

    prediction_id: str
    value: LabelValue
    time: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _label_value(self.value))


def _label_value(value: LabelValue) -> LabelValue:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return [_label_value(part) for part in value]
    if not math.isfinite(value):
        raise InvalidInput(f"a label of {value} is no label.", next_step="send a finite number.")
    return float(value)


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
    log_seq: int = 0
    """Where the inference log ended when it began: all of its requests stand behind that."""
    ended_at: datetime | None = None
    verdict: CheckResult | None = None
    observed: Mapping[str, Json] = field(default_factory=dict)
