"""Move all traffic to a new revision at once, and look at nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from everloop.records.checks import CheckResult
from everloop.records.serving import RolloutState
from everloop.rollout.plan import ALL_CANARY, Finished, Observed


@dataclass(frozen=True, slots=True, kw_only=True)
class AllAtOnce:
    """A plan that gives a new revision all the traffic and asks for no evidence.

    >>> AllAtOnce().begin().split
    TrafficSplit(stable=0, canary=100)
    """

    judge: ClassVar[None] = None
    shadow: ClassVar[bool] = False

    def begin(self) -> Finished:
        """It is over as it begins."""
        because = "the plan is to move all traffic at once and to look at nothing"
        verdict = CheckResult(name="all at once", passed=True, because=because)
        return Finished(state=RolloutState.PROMOTED, split=ALL_CANARY, verdict=verdict)

    def advance(self, step: int, observed: Observed) -> Finished:
        """Also for a rollout that began under another plan."""
        return self.begin()
