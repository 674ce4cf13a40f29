"""What is done next: a function of what is wanted, what there is and what was observed, tried without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.records.checks import CheckResult
from everloop.records.serving import Rollout, RolloutState, Traffic, TrafficSplit
from everloop.rollout.all_at_once import AllAtOnce
from everloop.rollout.canary import Canary
from everloop.rollout.decisions import Create, Decline, End, Follow, Start, State, Step, next_move
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.evidence import Evidence
from everloop.rollout.judge import Judge, Judgement, Verdict
from everloop.rollout.plan import Finished, Observed, Plan, Position

NOON = datetime(2013, 2, 1, 12, tzinfo=UTC)


def _says(verdict: Verdict) -> Judge:
    passed = verdict is Verdict.PASS
    result = CheckResult(name="told", passed=passed, because=f"told to say {verdict}")
    return Judge("told", ("told",), lambda _: Judgement(verdict=verdict, result=result, numbers={}))


def _endpoint(verdict: Verdict = Verdict.MARGINAL, **plan: object) -> Endpoint:
    given = {"steps": (20, 50), "min_requests": 10, "judge": _says(verdict), "shadow": False, **plan}
    return Endpoint(model="late", rollout=Canary(**given))  # type: ignore[arg-type]


TRAFFIC = Traffic(
    endpoint="late",
    model="late",
    generation=3,
    stable=1,
    canary=2,
    split=TrafficSplit(stable=80, canary=20),
    salt="s",
)
ROLLOUT = Rollout(
    id="late-late-2",
    endpoint="late",
    model="late",
    stable=1,
    canary=2,
    state=RolloutState.RUNNING,
    step=0,
    started_at=NOON,
    step_started_at=NOON,
)
RESTING = State(
    traffic=replace(TRAFFIC, canary=None, split=TrafficSplit(stable=100)),
    rollout=None,
    champion=1,
    challenger=None,
    tried=False,
)
RUNNING = replace(RESTING, traffic=TRAFFIC, rollout=ROLLOUT, challenger=2)
EARLY = Observed(elapsed=timedelta(hours=1))


def test_an_endpoint_that_nobody_has_seen_is_written_down_first() -> None:
    """Whatever else there is to do."""
    assert next_move(_endpoint(), replace(RUNNING, traffic=None), EARLY) == Create(champion=1)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (replace(RUNNING, champion=3), "the champion was moved to late@3 by hand"),
        (replace(RUNNING, champion=None), "the champion was moved to nobody by hand"),
        (replace(RESTING, champion=3), "the champion was moved to late@3 by hand"),
        (
            replace(RUNNING, traffic=replace(TRAFFIC, model="early")),
            "the endpoint was moved to late@1 by hand",
        ),
    ],
)
def test_a_hand_goes_before_every_plan(state: State, told: str) -> None:
    """Also before a judge who would have promoted at that very moment."""
    found = next_move(_endpoint(Verdict.FAIL), state, EARLY)
    assert isinstance(found, Follow)
    assert (found.champion, found.verdict.because, found.verdict.passed) == (state.champion, told, False)


def test_without_anything_wanted_nothing_is_done() -> None:
    """An endpoint at rest, and a rollout of which nobody has looked at the evidence."""
    assert next_move(_endpoint(), RESTING, None) is None
    assert next_move(_endpoint(Verdict.FAIL), RUNNING, None) is None


def test_a_challenger_begins_where_the_plan_says() -> None:
    """With a champion at the first step, and without one at the end; never twice, and never against itself."""
    waiting = replace(RESTING, challenger=2)
    begin = Position(step=0, split=TrafficSplit(stable=80, canary=20))
    assert next_move(_endpoint(), waiting, None) == Start(challenger=2, begin=begin)
    at_once = Endpoint(model="late", rollout=AllAtOnce())
    assert next_move(at_once, waiting, None) == Start(challenger=2, begin=AllAtOnce().begin())
    assert RESTING.traffic is not None
    first = replace(waiting, traffic=replace(RESTING.traffic, stable=None), champion=None)
    found = next_move(_endpoint(), first, None)
    assert isinstance(found, Start) and isinstance(found.begin, Finished)
    assert found.begin.state is RolloutState.PROMOTED
    for again in (replace(waiting, tried=True), replace(waiting, challenger=1)):
        assert isinstance(next_move(_endpoint(), again, None), Decline)


def test_a_newer_challenger_waits_while_one_is_on_trial() -> None:
    """What is done depends on the rollout alone."""
    assert next_move(_endpoint(), replace(RUNNING, challenger=7), EARLY) is None


def test_a_rollout_goes_on_only_when_something_is_other_than_it_should_be() -> None:
    """Another step, another percentage or another shadow is a move; the same is none."""
    enough = replace(EARLY, evidence=Evidence(requests={20: 10}))
    step = Step(position=Position(step=1, split=TrafficSplit(stable=50, canary=50)), shadow=False)
    assert next_move(_endpoint(), RUNNING, EARLY) is None
    assert next_move(_endpoint(), RUNNING, enough) == step
    there = replace(
        RUNNING,
        traffic=replace(TRAFFIC, split=TrafficSplit(stable=50, canary=50)),
        rollout=replace(ROLLOUT, step=1),
    )
    assert next_move(_endpoint(), there, enough) is None
    for changed in ({"steps": (30, 50)}, {"shadow": True}):
        assert isinstance(next_move(_endpoint(**changed), RUNNING, EARLY), Step)


class Half:
    """A plan of somebody else's: half of the traffic for a day, and then whatever the judge says."""

    judge = _says(Verdict.PASS)
    shadow = True

    def begin(self) -> Position:
        """At once."""
        return Position(step=0, split=TrafficSplit(stable=50, canary=50))

    def advance(self, step: int, observed: Observed) -> Position | Finished:
        """For a day."""
        if observed.elapsed < timedelta(days=1):
            return self.begin()
        verdict = self.judge(observed.evidence).result
        return Finished(
            state=RolloutState.PROMOTED, split=TrafficSplit(stable=0, canary=100), verdict=verdict
        )


def test_a_plan_of_another_kind_is_driven_in_the_same_way() -> None:
    """Nothing asks which plan it is: whatever has the four parts of one is begun, stepped and ended."""
    plan = Half()
    assert isinstance(plan, Plan)
    endpoint = Endpoint(model="late", rollout=plan)
    assert next_move(endpoint, replace(RESTING, challenger=2), None) == Start(
        challenger=2, begin=plan.begin()
    )
    assert isinstance(next_move(endpoint, RUNNING, EARLY), Step)
    found = next_move(endpoint, RUNNING, Observed(elapsed=timedelta(days=1)))
    assert isinstance(found, End) and found.finished.state is RolloutState.PROMOTED


VERSIONS = st.none() | st.integers(1, 3)


@given(
    champion=VERSIONS,
    challenger=VERSIONS,
    stable=VERSIONS,
    tried=st.booleans(),
    running=st.booleans(),
    verdict=st.sampled_from(Verdict),
    days=st.floats(0, 20),
    seen=st.integers(0, 20),
)
def test_nobody_gets_more_traffic_without_a_reason(
    champion: int | None,
    challenger: int | None,
    stable: int | None,
    tried: bool,
    running: bool,
    verdict: Verdict,
    days: float,
    seen: int,
) -> None:
    """Whatever the state: a rollout starts only at rest and once, is promoted only on a pass, and every fail ends it."""
    traffic = replace(TRAFFIC, stable=stable)
    state = State(
        traffic=traffic,
        rollout=ROLLOUT if running else None,
        champion=champion,
        challenger=challenger,
        tried=tried,
    )
    observed = Observed(evidence=Evidence(requests={20: seen}), elapsed=timedelta(days=days))
    found = next_move(_endpoint(verdict), state, observed if running else None)
    followed = champion == stable
    assert isinstance(found, Follow) != followed
    if isinstance(found, Start):
        assert not running and not tried and challenger not in (None, stable)
    if isinstance(found, End):
        promoted = found.finished.state is RolloutState.PROMOTED
        assert running and promoted <= (verdict is Verdict.PASS)
    if running and followed and verdict is Verdict.FAIL:
        assert isinstance(found, End) and found.finished.state is RolloutState.ROLLED_BACK
    assert found == next_move(_endpoint(verdict), state, observed if running else None)
