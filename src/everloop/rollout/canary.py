"""Move traffic to a new revision a little at a time, and take it back on bad news."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

from everloop.errors import InvalidInput
from everloop.records.checks import CheckResult
from everloop.records.serving import RolloutState, TrafficSplit
from everloop.rollout.evidence import Evidence, ScoredRequest
from everloop.rollout.judge import Judge, Judgement, Verdict, error_rate, quality

ALL_STABLE = TrafficSplit(stable=100)
ALL_CANARY = TrafficSplit(stable=0, canary=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a rollout has seen since it began."""

    evidence: Evidence
    elapsed: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A rollout that goes on: its step, the split to have in force, and what the judge said last."""

    step: int
    split: TrafficSplit
    judgement: Judgement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A rollout that is over: how, where the traffic rests, and the verdict it ended on."""

    state: RolloutState
    split: TrafficSplit
    verdict: CheckResult
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A plan that gives a new revision more and more of the traffic while the judge does not object.

    A step ends when it has seen enough; the canary is promoted after the last step, once the judge has said pass. As soon as
    the judge says fail, and also when the time is used up without a proof of safety, the stable revision has all traffic.
    What counts as seen is a request that was made under the step's own split, so the steps differ.

    >>> plan = Canary(steps=(20, 50), judge=error_rate(), shadow=False)
    >>> plan.begin()
    Position(step=0, split=TrafficSplit(stable=80, canary=20), judgement=None)
    >>> rollout = plan.rollout()
    >>> next(rollout)
    TrafficSplit(stable=80, canary=20)
    >>> rollout.send(Observed(evidence=Evidence(), elapsed=timedelta(days=1)))
    TrafficSplit(stable=80, canary=20)
    >>> try:
    ...     rollout.send(Observed(evidence=Evidence(), elapsed=timedelta(days=11)))
    ... except StopIteration as end:
    ...     end.value.state, end.value.split
    (<RolloutState.INCONCLUSIVE: 'inconclusive'>, TrafficSplit(stable=100, canary=0))
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
        return self.at(0)

    def at(self, step: int) -> Position:
        """The position a rollout was in, from the step that was written down."""
        if not 0 <= step < len(self.steps):
            raise InvalidInput(
                f"the plan has the steps {list(self.steps)} and none with the number {step}.",
                next_step="a rollout that is under way keeps its plan; roll it back before shortening the plan.",
            )
        return Position(step=step, split=ALL_STABLE.shifted(self.steps[step]))

    def seen(self, step: int, evidence: Evidence) -> int:
        """How many requests of that step the judge can use."""
        return sum(self._counts(request, self.steps[step]) for request in evidence.requests)

    def _counts(self, request: ScoredRequest, percent: int) -> bool:
        return request.canary_percent == percent and (self.judge.metric is None or request.paired)

    def rollout(self) -> Generator[TrafficSplit, Observed, Finished]:
        """The same plan as a conversation: it yields the split to try and receives what was observed."""
        position: Position | Finished = self.begin()
        while isinstance(position, Position):
            observed = yield position.split
            position = advance(self, position, observed)
        return position


@dataclass(frozen=True, slots=True, kw_only=True)
class AllAtOnce:
    """A plan that gives a new revision all the traffic and asks for no evidence.

    >>> AllAtOnce().begin().split
    TrafficSplit(stable=0, canary=100)
    """

    shadow: bool = field(default=False, init=False)

    def begin(self) -> Finished:
        """It is over as it begins."""
        because = "the plan is to move all traffic at once and to look at nothing"
        verdict = CheckResult(name="all at once", passed=True, because=because)
        return Finished(state=RolloutState.PROMOTED, split=ALL_CANARY, verdict=verdict)

    def rollout(self) -> Generator[TrafficSplit, Observed, Finished]:
        """A conversation that is over before it begins."""
        yield from ()
        return self.begin()


Plan = Canary | AllAtOnce


def advance(plan: Canary, position: Position, observed: Observed) -> Position | Finished:
    """Where the rollout stands after this observation; the same arguments give the same answer, now and later.

    Whoever drives a rollout keeps only its step: `advance(plan, plan.at(step), observed)`.
    """
    judgement = plan.judge(observed.evidence)
    last = position.step == len(plan.steps) - 1
    enough = plan.seen(position.step, observed.evidence) >= plan.min_requests
    if judgement.verdict is Verdict.FAIL:
        return _finished(RolloutState.ROLLED_BACK, ALL_STABLE, judgement)
    if last and enough and judgement.verdict is Verdict.PASS:
        return _finished(RolloutState.PROMOTED, ALL_CANARY, judgement)
    if observed.elapsed >= plan.max_duration:
        return _out_of_time(plan, position, judgement)
    step = position.step + (enough and not last)
    return Position(step=step, split=plan.at(step).split, judgement=judgement)


def _finished(state: RolloutState, split: TrafficSplit, judgement: Judgement) -> Finished:
    return Finished(state=state, split=split, verdict=judgement.result, numbers=judgement.numbers)


def _out_of_time(plan: Canary, position: Position, judgement: Judgement) -> Finished:
    days = plan.max_duration / timedelta(days=1)
    because = (
        f"no proof of safety in {days:g} days, at step {position.step + 1} of {len(plan.steps)}: "
        f"{judgement.result.because}"
    )
    verdict = CheckResult(
        name=judgement.result.name, passed=False, because=because, parts=(judgement.result,)
    )
    return Finished(
        state=RolloutState.INCONCLUSIVE, split=ALL_STABLE, verdict=verdict, numbers=judgement.numbers
    )
