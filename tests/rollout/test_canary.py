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
from everloop.rollout.canary import AllAtOnce, Canary, Finished, Observed, Position, advance
from everloop.rollout.evidence import Evidence, ScoredRequest
from everloop.rollout.judge import Judge, Judgement, Verdict, quality

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
        return Judgement(verdict=verdict, result=result, numbers={"seen": len(evidence.requests)})

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
    return Observed(evidence=Evidence(outcomes), elapsed=timedelta(days=days))


def _end(found: Position | Finished) -> tuple[RolloutState, TrafficSplit, bool]:
    assert isinstance(found, Finished)
    return found.state, found.split, found.verdict.passed


def test_a_canary_climbs_its_steps_and_is_promoted_on_proof() -> None:
    """Each step ends when it has seen enough under its own split; after the last one a pass moves all traffic."""
    rollout = _plan(PASS).rollout()
    assert next(rollout) == TrafficSplit(stable=80, canary=20)
    few, enough = _at(20, 9), _at(20, 10)
    assert rollout.send(_seen(*few)) == TrafficSplit(stable=80, canary=20)
    assert rollout.send(_seen(*enough)) == TrafficSplit(stable=50, canary=50)
    assert rollout.send(_seen(*enough, *_at(50, 9, first=100))) == TrafficSplit(stable=50, canary=50)
    with pytest.raises(StopIteration) as end:
        rollout.send(_seen(*enough, *_at(50, 10, first=100)))
    assert _end(end.value.value) == (RolloutState.PROMOTED, TrafficSplit(stable=0, canary=100), True)
    assert end.value.value.numbers == {"seen": 20}


def test_without_proof_a_canary_waits_and_then_stable_stays() -> None:
    """A marginal verdict holds the last step until the days are used up; then it is inconclusive, which is no pass."""
    plan = _plan(MARGINAL)
    plenty = _at(50, 500)
    waiting = advance(plan, plan.at(1), _seen(*plenty, days=4.99))
    assert isinstance(waiting, Position)
    assert (waiting.step, waiting.split) == (1, TrafficSplit(stable=50, canary=50))
    over = advance(plan, plan.at(1), _seen(*plenty, days=5.0))
    assert _end(over) == (RolloutState.INCONCLUSIVE, TrafficSplit(stable=100), False)


def test_a_pass_before_the_last_step_is_not_enough_at_the_deadline() -> None:
    """A canary that ran out of days on its way up has not been seen at its last step, so it is inconclusive."""
    plan = _plan(PASS)
    assert _end(advance(plan, plan.at(0), _seen(*_at(20, 50), days=5.0))) == (
        RolloutState.INCONCLUSIVE,
        TrafficSplit(stable=100),
        False,
    )
    assert _end(advance(plan, plan.at(1), _seen(*_at(50, 50), days=9.0)))[0] is RolloutState.PROMOTED


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("days", [0.0, 99.0])
def test_a_fail_ends_it_at_any_time(step: int, days: float) -> None:
    """On the first request, at any step, before and after the deadline: a fail gives stable all traffic."""
    plan = _plan(FAIL)
    assert _end(advance(plan, plan.at(step), _seen(days=days))) == (
        RolloutState.ROLLED_BACK,
        TrafficSplit(stable=100),
        False,
    )


def test_a_judge_of_labels_waits_for_labelled_pairs() -> None:
    """Requests without a label, or that one revision alone scored, do not end the step of a judge that reads labels."""
    plan = _plan(PASS, METRICS["brier"])
    bare, alone = _at(20, 50), _at(20, 50, first=100, loss=0.1)
    stays = advance(plan, plan.at(0), _seen(*bare, *alone, *_at(20, 9, first=300, loss=0.1, other_loss=0.2)))
    climbs = advance(plan, plan.at(0), _seen(*bare, *_at(20, 10, first=300, loss=0.1, other_loss=0.2)))
    assert isinstance(stays, Position) and isinstance(climbs, Position)
    assert (stays.step, climbs.step) == (0, 1)


TICKS = st.lists(
    st.tuples(st.integers(0, 12), st.floats(0.0, 3.0), st.sampled_from([PASS, MARGINAL, MARGINAL, FAIL])),
    max_size=12,
)


@given(TICKS)
def test_a_driver_that_forgets_everything_but_the_step_ends_the_same(
    ticks: list[tuple[int, float, Verdict]],
) -> None:
    """Stepping the generator and calling `advance` with the written-down step walk the same way to the same end."""
    said: list[Verdict] = []
    plan = Canary(
        steps=(10, 20, 50), min_requests=10, max_duration=timedelta(days=9), judge=_saying(lambda _: said[-1])
    )
    rollout = plan.rollout()
    split, step, days = next(rollout), 0, 0.0
    outcomes: list[ScoredRequest] = []
    for count, passed_days, verdict in ticks:
        said.append(verdict)
        outcomes += _at(split.canary, count, first=len(outcomes))
        days += passed_days
        observed = _seen(*outcomes, days=days)
        found = advance(plan, plan.at(step), observed)
        try:
            split = rollout.send(observed)
        except StopIteration as end:
            assert end.value == found
            return
        assert isinstance(found, Position)
        assert found.split == split
        step = found.step


def test_all_at_once_is_over_as_it_begins() -> None:
    """The plan that looks at nothing promotes without a single tick."""
    with pytest.raises(StopIteration) as end:
        next(AllAtOnce().rollout())
    assert _end(end.value.value) == (RolloutState.PROMOTED, TrafficSplit(stable=0, canary=100), True)


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
        lambda: Canary().at(2),
        lambda: Canary().at(-1),
    ],
)
def test_a_plan_that_could_not_work_is_refused_where_it_is_written(wrong: Callable[[], object]) -> None:
    """Steps that do not rise, nothing to wait for, a judge without its evidence: refused at once, with the next step."""
    with pytest.raises(InvalidInput, match="Next:"):
        wrong()
