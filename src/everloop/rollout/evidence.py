"""What a judge may look at: for each request, who answered, whether it failed, and how wrong it was."""

from __future__ import annotations

import math
from dataclasses import dataclass

from everloop.errors import InvalidInput
from everloop.records.serving import Arm


def percent_of(arm: Arm, share: int) -> int:
    """Percent of traffic that the canary has when this arm has this share."""
    return share if arm is Arm.CANARY else 100 - share


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRequest:
    """What came of one request; all its facts are kept with the prediction, so a verdict can be repeated."""

    seq: int
    """Place in the order of arrival, as in `Prediction`; no two requests have the same."""
    request_id: str
    unit: str
    """Who was assigned to an arm: a user, a session, or the request itself."""
    arm: Arm
    """The arm the request was assigned to, also when another one had to answer for it."""
    share: int
    """Percent of traffic that this arm had at that moment, as in `Prediction`."""
    failed: bool
    loss: float | None = None
    """How wrong the arm's answer was, the worst there is when it failed; None as long as there is no label."""
    other_loss: float | None = None
    """How wrong the other revision was on the same request; None when it was not asked or there is no label."""

    def __post_init__(self) -> None:
        if self.arm is Arm.SHADOW:
            raise InvalidInput(
                f"request {self.request_id} is assigned to the shadow, which answers nobody.",
                next_step="put the shadow's loss into other_loss of the arm that the request was assigned to.",
            )
        if not 0 <= self.share <= 100:
            raise InvalidInput(
                f"request {self.request_id} has a share of {self.share} percent.",
                next_step="give a share from 0 to 100.",
            )
        for cost in (self.loss, self.other_loss):
            if cost is not None and not (math.isfinite(cost) and cost >= 0):
                raise InvalidInput(
                    f"request {self.request_id} has a loss of {cost}.",
                    next_step="give a loss that is 0 or more, or None.",
                )

    @property
    def canary_percent(self) -> int:
        """Percent of traffic that the canary had when the request came."""
        return percent_of(self.arm, self.share)

    @property
    def paired(self) -> bool:
        """Both revisions scored this request and its label is known."""
        return self.loss is not None and self.other_loss is not None

    @property
    def extra_loss(self) -> float:
        """How much more the canary lost than the stable revision on this request; only of a pair."""
        if self.loss is None or self.other_loss is None:
            raise InvalidInput(
                f"request {self.request_id} was not scored by both revisions.",
                next_step="compare only requests that were.",
            )
        extra = self.loss - self.other_loss
        return extra if self.arm is Arm.CANARY else -extra


@dataclass(frozen=True, slots=True)
class Evidence:
    """Every request since a rollout began, kept in the order of arrival whatever order it is given in.

    Every one: a judge takes one that is not here for one that never came.

    >>> late, early = (
    ...     ScoredRequest(seq=n, request_id=f"r{n}", unit="u", arm=Arm.CANARY, share=20, failed=n == 9) for n in (13, 9)
    ... )
    >>> Evidence((late, early)) == Evidence((early, late)), Evidence((late, early)).requests[0].request_id
    (True, 'r9')
    """

    requests: tuple[ScoredRequest, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "requests", tuple(sorted(self.requests, key=lambda request: request.seq)))

    def first_of_units(self) -> tuple[ScoredRequest, ...]:
        """The first request of each unit: the only one whose arm was drawn independently of what went before."""
        return _firsts(self.requests)

    def first_failures(self) -> tuple[ScoredRequest, ...]:
        """The first failure of each unit; a unit that fails again and again is one fact about its arm, not many."""
        return _firsts(tuple(request for request in self.requests if request.failed))

    def pairs(self) -> tuple[ScoredRequest, ...]:
        """The requests that both revisions scored and whose label is known."""
        return tuple(request for request in self.requests if request.paired)


def _firsts(requests: tuple[ScoredRequest, ...]) -> tuple[ScoredRequest, ...]:
    first: dict[str, ScoredRequest] = {}
    for request in requests:
        first.setdefault(request.unit, request)
    return tuple(first.values())
