"""The canary as a plan: what it does next depends on what was seen, and on nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import InvalidInput
from everloop.evaluation.metric import METRICS, Metric
from everloop.records.checks import CheckResult
from everloop.records.serving import Arm, RolloutState, TrafficSplit
from everloop.rollout.all_at_once import AllAtOnce
from everloop.rollout.canary import Canary
from everloop.rollout.evidence import Evidence
from everloop.rollout.judge import Judge, Judgement, Verdict, quality
from everloop.rollout.plan import Finished, Observed, Plan, Position
from tests.support.scored import ScoredRequest, evidence_of

NOON = datetime(2013, 2, 1, 12, tzinfo=UTC)
PASS, MARGINAL, FAIL = Verdict.PASS, Verdict.MARGINAL, Verdict.FAIL


def outcome(number: int, where: Arm, percent: int, **facts: object) -> ScoredRequest:
    """One request while the canary has `percent` of the traffic; a unit of its own unless one is given."""
    given = {"unit": f"r{number:06}", "failed": False, **facts}
    share = percent if where is Arm.CANARY else 100 - percent
    return ScoredRequest(seq=number, request_id=f"r{number:06}", arm=where, share=share, **given)  # type: ignore[arg-type]


def _saying(say: Callable[[Evidence], Verdict], metric: Metric | None = None) -> Judge:
    """A judge that says what it is told to, so that a plan can be tested apart from statistics."""

    def weigh(evidence: Evidence) -> Judgement:
        verdict = say(evidence)
        result = CheckResult(name="told", passed=verdict is PASS, because=f"told to say {verdict}")
        return Judgement(verdict=verdict, result=result, numbers={"seen": sum(evidence.requests.values())})

    return Judge("told", ("told",), weigh, metric)


def _plan(verdict: Verdict, metric: Metric | None = None) -> Canary:
    return Canary(
        steps=(20, 50),
        min_requests=10,
        max_duration=timedelta(days=5),
        judge=_saying(lambda _: verdict, metric),
    )


def _at(percent: int, count: int, first: int = 0, **facts: object) -> list[ScoredRequest]:
    return [outcome(first + n, Arm.CANARY if n % 2 else Arm.STABLE, percent, **facts) for n in range(count)]


def _seen(*outcomes: ScoredRequest, days: float = 1.0) -> Observed:
    return Observed(evidence=evidence_of(outcomes), elapsed=timedelta(days=days))


def _end(found: Position | Finished) -> tuple[RolloutState, TrafficSplit, bool]:
    assert isinstance(found, Finished)
    return found.state, found.split, found.verdict.passed


def test_a_canary_climbs_its_steps_and_is_promoted_on_proof() -> None:
    """Each step ends when it has seen enough under its own split; after the last one a pass moves all traffic."""
    plan = _plan(PASS)
    first, second = plan.begin(), Position(step=1, split=TrafficSplit(stable=50, canary=50))
    assert first == Position(step=0, split=TrafficSplit(stable=80, canary=20))
    few, enough = _at(20, 9), _at(20, 10)
    assert plan.advance(0, _seen(*few)) == first
    assert plan.advance(0, _seen(*enough)) == second
    assert plan.advance(1, _seen(*enough, *_at(50, 9, first=100))) == second
    end = plan.advance(1, _seen(*enough, *_at(50, 10, first=100)))
    assert _end(end) == (RolloutState.PROMOTED, TrafficSplit(stable=0, canary=100), True)
    assert isinstance(end, Finished) and end.numbers == {"seen": 20}


def test_without_proof_a_canary_waits_and_then_stable_stays() -> None:
    """A marginal verdict holds the last step until the days are used up; then it is inconclusive, which is no pass."""
    plan = _plan(MARGINAL)
    plenty = _at(50, 500)
    waiting = plan.advance(1, _seen(*plenty, days=4.99))
    assert isinstance(waiting, Position)
    assert (waiting.step, waiting.split) == (1, TrafficSplit(stable=50, canary=50))
    over = plan.advance(1, _seen(*plenty, days=5.0))
    assert _end(over) == (RolloutState.INCONCLUSIVE, TrafficSplit(stable=100), False)


def test_a_pass_before_the_last_step_is_not_enough_at_the_deadline() -> None:
    """A canary that ran out of days on its way up has not been seen at its last step, so it is inconclusive."""
    plan = _plan(PASS)
    assert _end(plan.advance(0, _seen(*_at(20, 50), days=5.0))) == (
        RolloutState.INCONCLUSIVE,
        TrafficSplit(stable=100),
        False,
    )
    assert _end(plan.advance(1, _seen(*_at(50, 50), days=9.0)))[0] is RolloutState.PROMOTED


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("days", [0.0, 99.0])
def test_a_fail_ends_it_at_any_time(step: int, days: float) -> None:
    """On the first request, at any step, before and after the deadline: a fail gives stable all traffic."""
    plan = _plan(FAIL)
    assert _end(plan.advance(step, _seen(days=days))) == (
        RolloutState.ROLLED_BACK,
        TrafficSplit(stable=100),
        False,
    )


def test_a_judge_of_labels_waits_for_labelled_pairs() -> None:
    """Requests without a label, or that one revision alone scored, do not end the step of a judge that reads labels."""
    plan = _plan(PASS, METRICS["brier"])
    bare, alone = _at(20, 50), _at(20, 50, first=100, loss=0.1)
    stays = plan.advance(0, _seen(*bare, *alone, *_at(20, 9, first=300, loss=0.1, other_loss=0.2)))
    climbs = plan.advance(0, _seen(*bare, *_at(20, 10, first=300, loss=0.1, other_loss=0.2)))
    assert isinstance(stays, Position) and isinstance(climbs, Position)
    assert (stays.step, climbs.step) == (0, 1)


TICKS = st.lists(
    st.tuples(st.integers(0, 12), st.floats(0.0, 3.0), st.sampled_from([PASS, MARGINAL, MARGINAL, FAIL])),
    max_size=12,
)


def _slowly(plan: Canary, ticks: list[tuple[int, float, Verdict]]) -> list[tuple[int, RolloutState]]:
    """Where a rollout is after each tick, told in the words of the plan's description."""
    walked: list[tuple[int, RolloutState]] = []
    step, days, seen = 0, 0.0, [0] * len(plan.steps)
    for count, passed_days, verdict in ticks:
        seen[step] += count
        days += passed_days
        last = step == len(plan.steps) - 1
        if verdict is FAIL:
            state = RolloutState.ROLLED_BACK
        elif last and verdict is PASS and seen[step] >= plan.min_requests:
            state = RolloutState.PROMOTED
        elif timedelta(days=days) >= plan.max_duration:
            state = RolloutState.INCONCLUSIVE
        else:
            state = RolloutState.RUNNING
            step += not last and seen[step] >= plan.min_requests
        walked.append((step, state))
        if state is not RolloutState.RUNNING:
            break
    return walked


@given(TICKS)
def test_a_driver_that_forgets_everything_but_the_step_walks_as_described(
    ticks: list[tuple[int, float, Verdict]],
) -> None:
    """Whoever keeps the step and hands over all evidence each time goes the way of a slow reading of the rules."""
    said: list[Verdict] = []
    plan = Canary(
        steps=(10, 20, 50), min_requests=10, max_duration=timedelta(days=9), judge=_saying(lambda _: said[-1])
    )
    step, days = 0, 0.0
    outcomes: list[ScoredRequest] = []
    walked: list[tuple[int, RolloutState]] = []
    for count, passed_days, verdict in ticks:
        said.append(verdict)
        outcomes += _at(plan.steps[step], count, first=len(outcomes))
        days += passed_days
        found = plan.advance(step, _seen(*outcomes, days=days))
        if isinstance(found, Finished):
            walked.append((step, found.state))
            break
        step = found.step
        assert found.split == TrafficSplit(stable=100).shifted(plan.steps[step])
        walked.append((step, RolloutState.RUNNING))
    assert walked == _slowly(plan, ticks)


def test_evidence_that_cannot_be_had_ends_a_rollout() -> None:
    """As of a judge that cannot be evaluated, the answer is no, whatever it would have said."""
    plan = _plan(PASS)
    found = plan.advance(1, Observed(elapsed=timedelta(0), trouble="metric cost cannot be computed"))
    assert _end(found) == (RolloutState.ROLLED_BACK, TrafficSplit(stable=100), False)
    assert isinstance(found, Finished) and "metric cost cannot be computed" in found.verdict.because


@pytest.mark.parametrize("step", [2, -1])
def test_a_step_that_the_plan_does_not_have_any_more_ends_it_without_a_winner(step: int) -> None:
    """What was seen was seen of another plan."""
    found = _plan(PASS).advance(step, _seen(*_at(50, 500)))
    assert _end(found) == (RolloutState.INCONCLUSIVE, TrafficSplit(stable=100), False)


def test_all_at_once_is_over_as_it_begins() -> None:
    """The plan that looks at nothing promotes at once, also what began under another plan."""
    plan = AllAtOnce()
    for found in (plan.begin(), plan.advance(3, _seen())):
        assert _end(found) == (RolloutState.PROMOTED, TrafficSplit(stable=0, canary=100), True)
    assert (plan.judge, plan.shadow) == (None, False)


@pytest.mark.parametrize("plan", [Canary(), AllAtOnce()])
def test_every_plan_is_driven_in_one_way(plan: object) -> None:
    """It has a judge or none, shadows or not, begins and advances."""
    assert isinstance(plan, Plan)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Canary(steps=()),
        lambda: Canary(steps=(0, 50)),
        lambda: Canary(steps=(50, 50)),
        lambda: Canary(steps=(50, 20)),
        lambda: Canary(steps=(50, 100)),
        lambda: Canary(steps=(20.5, 50)),  # type: ignore[arg-type]
        lambda: Canary(steps=(True, 50)),
        lambda: Canary(min_requests=0),
        lambda: Canary(max_duration=timedelta(days=0)),
        lambda: Canary(max_duration=-timedelta(days=1)),
        lambda: Canary(max_duration=10.0),  # type: ignore[arg-type]
        lambda: Canary(judge=quality(), shadow=False),
    ],
)
def test_a_plan_that_could_not_work_is_refused_where_it_is_written(wrong: Callable[[], object]) -> None:
    """Steps that do not rise, nothing to wait for, a judge without its evidence: refused at once, with the next step."""
    with pytest.raises(InvalidInput, match="Next:"):
        wrong()
