"""Move traffic to a new revision a little at a time, and take it back on bad news."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

from everloop.errors import InvalidInput
from everloop.records.checks import CheckResult
from everloop.records.serving import RolloutState
from everloop.rollout.evidence import Evidence
from everloop.rollout.judge import Judge, Judgement, Verdict, error_rate, quality
from everloop.rollout.plan import ALL_CANARY, ALL_STABLE, Finished, Observed, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A plan that gives a new revision more and more of the traffic while the judge does not object.

    A step ends when it has seen enough; the canary is promoted after the last step, once the judge has said pass. As soon as
    the judge says fail, and also when the time is used up without a proof of safety, the stable revision has all traffic.
    What counts as seen is a request that was made under the step's own split, so the steps differ.

    >>> plan = Canary(steps=(20, 50), min_requests=200, judge=error_rate(), shadow=False)
    >>> plan.begin().split
    TrafficSplit(stable=80, canary=20)
    """

    steps: Sequence[int] = (20, 50)
    """Percent of traffic on the canary, rising; 100 is no step, because it leaves nothing to compare with."""
    min_requests: int = 150
    """Requests that each step must see: labelled and scored by both revisions when the judge reads labels."""
    max_duration: timedelta = timedelta(days=10)
    """When to give up on a proof; the stable revision stays."""
    judge: Judge = field(default_factory=lambda: error_rate() & quality())
    shadow: bool = True
    """Let both revisions score each request; takes twice the computing and needs far fewer requests."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        whole = all(type(step) is int for step in self.steps)
        rising = whole and all(low < high for low, high in pairwise(self.steps))
        if not self.steps or not rising or not (self.steps[0] > 0 and self.steps[-1] < 100):
            raise InvalidInput(
                f"a canary cannot take the steps {list(self.steps)}.",
                next_step="name rising whole percentages between 1 and 99, for example steps=(20, 50).",
            )
        if self.min_requests < 1:
            raise InvalidInput(
                f"a canary cannot end a step on min_requests={self.min_requests}.",
                next_step="give 1 or more.",
            )
        if not isinstance(self.max_duration, timedelta) or self.max_duration <= timedelta(0):
            raise InvalidInput(
                f"a canary cannot last max_duration={self.max_duration!r}.",
                next_step="give a timedelta above zero, such as timedelta(days=10).",
            )
        if self.judge.metric is not None and not self.shadow:
            raise InvalidInput(
                f"{self.judge.name} compares the two revisions on the same requests.",
                next_step="leave shadow=True, or judge by error_rate() alone.",
            )

    def begin(self) -> Position:
        """The first step."""
        return self._at(0)

    def advance(self, step: int, observed: Observed) -> Position | Finished:
        """Where a rollout at this step stands after what was observed."""
        if not 0 <= step < len(self.steps):
            # Shortened under way: what was seen was seen of another plan.
            because = f"the plan has {len(self.steps)} steps now, and the rollout was at step {step + 1}"
            verdict = CheckResult(name="same plan", passed=False, because=because)
            return Finished(state=RolloutState.INCONCLUSIVE, split=ALL_STABLE, verdict=verdict)
        if observed.trouble is not None:
            because = f"cannot be evaluated: {observed.trouble}"
            verdict = CheckResult(name=self.judge.name, passed=False, because=because)
            return Finished(state=RolloutState.ROLLED_BACK, split=ALL_STABLE, verdict=verdict)
        judgement = self.judge(observed.evidence)
        last = step == len(self.steps) - 1
        enough = self._seen(step, observed.evidence) >= self.min_requests
        if judgement.verdict is Verdict.FAIL:
            return _finished(RolloutState.ROLLED_BACK, judgement)
        if last and enough and judgement.verdict is Verdict.PASS:
            return _finished(RolloutState.PROMOTED, judgement)
        if observed.elapsed >= self.max_duration:
            return self._out_of_time(step, judgement)
        return self._at(step + (enough and not last))

    def _at(self, step: int) -> Position:
        return Position(step=step, split=ALL_STABLE.shifted(self.steps[step]))

    def _seen(self, step: int, evidence: Evidence) -> int:
        """How many requests of that step the judge can use."""
        usable = evidence.requests if self.judge.metric is None else evidence.pairs
        return usable.get(self.steps[step], 0)

    def _out_of_time(self, step: int, judgement: Judgement) -> Finished:
        days = self.max_duration / timedelta(days=1)
        because = (
            f"no proof of safety in {days:g} days, at step {step + 1} of {len(self.steps)}: "
            f"{judgement.result.because}"
        )
        verdict = CheckResult(
            name=judgement.result.name, passed=False, because=because, parts=(judgement.result,)
        )
        return Finished(
            state=RolloutState.INCONCLUSIVE, split=ALL_STABLE, verdict=verdict, numbers=judgement.numbers
        )


def _finished(state: RolloutState, judgement: Judgement) -> Finished:
    split = ALL_CANARY if state is RolloutState.PROMOTED else ALL_STABLE
    return Finished(state=state, split=split, verdict=judgement.result, numbers=judgement.numbers)
