"""From aliases to traffic: each step once, whoever takes it, and the stable revision answers when anything is in doubt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everloop.evaluation.metric import Metric
from everloop.records.checks import CheckResult
from everloop.records.models import CHALLENGER, CHAMPION
from everloop.records.serving import Arm, Rollout, RolloutState, Traffic, TrafficSplit
from everloop.registry.aliases import drop_alias, find_alias, list_alias_moves
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.all_at_once import AllAtOnce
from everloop.rollout.canary import Canary
from everloop.rollout.controller import reconcile
from everloop.rollout.endpoint import Endpoint
from everloop.rollout.endpoints import find_traffic, list_rollouts
from everloop.rollout.evidence import Evidence
from everloop.rollout.judge import Judge, Judgement, Verdict, error_rate, quality
from everloop.rollout.looks import look
from everloop.settings import Settings
from everloop.storage import ledger
from everloop.storage.ids import id_maker
from everloop.storage.workspace import Workspace, open_workspace
from tests.support.traffic import ask, label, log, point, prediction, register

BEGIN = datetime(2013, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)
_fresh = count()


def _count(evidence: Evidence) -> Judgement:
    """Fail at the first failure, pass from ten requests on."""
    seen, failed = sum(evidence.requests.values()), sum(evidence.failures.values())
    verdict = Verdict.FAIL if failed else Verdict.PASS if seen >= 10 else Verdict.MARGINAL
    because = f"{failed} of {seen} failed"
    result = CheckResult(name="count", passed=verdict is Verdict.PASS, because=because)
    return Judgement(verdict=verdict, result=result, numbers={"seen": float(seen)})


COUNT = Judge("count", ("count",), _count)
PLAN = Canary(steps=(20, 50), min_requests=10, max_duration=timedelta(days=3), judge=COUNT, shadow=False)
ENDPOINT = Endpoint("late", model=RegisteredModel("late"), rollout=PLAN)


@dataclass
class Scene:
    """A workspace whose clock a test moves."""

    opened: Workspace
    now: datetime = BEGIN

    def __post_init__(self) -> None:
        self.workspace = replace(
            self.opened, now=lambda: self.now, new_id=id_maker(lambda: self.now, Random(0).getrandbits)
        )

    def settle(self, endpoint: Endpoint = ENDPOINT) -> int:
        """Take every step there is; returns how many there were."""
        steps = 0
        while reconcile(self.workspace, endpoint):
            steps += 1
            assert steps < 20
        return steps

    def traffic(self) -> Traffic:
        """What the server should do."""
        with self.workspace.database.read() as tx:
            found = find_traffic(tx, "late")
        assert found is not None
        return found

    def rollout(self) -> Rollout:
        """The newest rollout."""
        with self.workspace.database.read() as tx:
            return list_rollouts(tx, "late")[-1]

    def evidence(self) -> Evidence:
        """What a look finds of the newest rollout, without keeping it."""
        with self.workspace.database.read() as tx:
            return look(tx, self.rollout(), COUNT).now.evidence

    def rollouts(self) -> list[tuple[int, str]]:
        """Every rollout and how it is."""
        with self.workspace.database.read() as tx:
            return [(rollout.canary, rollout.state.value) for rollout in list_rollouts(tx, "late")]

    def aliases(self) -> tuple[int | None, int | None]:
        """Champion and challenger."""
        with self.workspace.database.read() as tx:
            return find_alias(tx, "late", CHAMPION), find_alias(tx, "late", CHALLENGER)

    def told(self) -> list[str]:
        """Every event about rollouts."""
        with self.workspace.database.read() as tx:
            return [e.short_type for e in ledger.read(tx) if e.short_type.startswith("rollout.")]

    def requests(self, count: int, name: str, *, failing: int | None = None) -> None:
        """So many requests under the traffic that is wanted now."""
        ask(self.workspace, self.traffic(), [f"{name}-{n}" for n in range(count)], failing=failing)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """An empty workspace in February."""
    opened = open_workspace(Settings(root=tmp_path, module="project"))
    yield Scene(opened)
    opened.close()


@pytest.fixture
def rolling(scene: Scene) -> Scene:
    """Version 1 is champion, and version 2 has 20 percent of its traffic."""
    register(scene.workspace, 1, alias=CHALLENGER)
    scene.settle()
    scene.now += DAY
    register(scene.workspace, 2, alias=CHALLENGER)
    scene.settle()
    return scene


def test_an_endpoint_without_a_model_waits_for_one(scene: Scene) -> None:
    """It is written down, so that a server can say that it is not ready, and looking again changes nothing."""
    assert reconcile(scene.workspace, ENDPOINT)
    assert scene.traffic() == Traffic(
        endpoint="late",
        model="late",
        generation=1,
        stable=None,
        canary=None,
        split=TrafficSplit(stable=100),
        salt="",
    )
    assert not reconcile(scene.workspace, ENDPOINT)


def test_the_first_model_of_all_goes_live(scene: Scene) -> None:
    """There is nobody to compare it with; the record says just that."""
    scene.settle()
    register(scene.workspace, 1, alias=CHALLENGER)
    scene.settle()
    assert scene.aliases() == (1, None)
    assert (scene.traffic().stable, scene.traffic().canary, scene.traffic().generation) == (1, None, 2)
    verdict = scene.rollout().verdict
    assert verdict is not None and verdict.because == "there was no champion to compare it with"
    assert scene.told() == ["rollout.started", "rollout.promoted"]
    assert scene.settle() == 0


def test_a_champion_that_is_there_before_its_endpoint_is_served_at_once(scene: Scene) -> None:
    """Also one that somebody promoted by hand."""
    register(scene.workspace, 1, alias=CHAMPION)
    scene.settle()
    assert (scene.traffic().stable, scene.rollouts()) == (1, [])


def test_a_challenger_gets_a_share_and_more_of_it_as_evidence_comes(rolling: Scene) -> None:
    """20 percent, then 50, then all: each step once it has seen enough under its own split, and nothing in between."""
    first = rolling.traffic()
    assert (first.stable, first.canary, first.split) == (1, 2, TrafficSplit(stable=80, canary=20))
    assert (first.salt, first.shadow) == (rolling.rollout().id, False)
    assert rolling.settle() == 0
    rolling.requests(9, "a")
    assert rolling.settle() == 0
    rolling.now += DAY
    rolling.requests(1, "b")
    assert rolling.settle() == 1
    second, rollout = rolling.traffic(), rolling.rollout()
    assert (second.split, second.generation, second.salt) == (
        TrafficSplit(stable=50, canary=50),
        first.generation + 1,
        first.salt,
    )
    assert (rollout.step, rollout.step_started_at, rollout.state) == (1, rolling.now, RolloutState.RUNNING)
    rolling.requests(9, "c")
    assert rolling.settle() == 0
    rolling.requests(1, "d")
    assert rolling.settle() == 1
    last, rollout = rolling.traffic(), rolling.rollout()
    assert (last.stable, last.canary, last.split, last.shadow) == (2, None, TrafficSplit(stable=100), False)
    assert (rollout.state, rollout.ended_at, rollout.observed) == (
        RolloutState.PROMOTED,
        rolling.now,
        {"seen": 20.0},
    )
    assert rolling.aliases() == (2, None)
    assert rolling.told()[2:] == ["rollout.started", "rollout.stepped", "rollout.promoted"]
    with rolling.workspace.database.read() as tx:
        moves = [
            (m.alias, m.previous, m.version, m.epoch)
            for m in list_alias_moves(tx, "late")
            if m.alias == CHAMPION
        ]
    assert moves == [(CHAMPION, None, 1, 1), (CHAMPION, 1, 2, 2)]


def test_bad_news_takes_the_traffic_back_and_the_version_is_not_tried_again(rolling: Scene) -> None:
    """At the first look after the proof; whoever makes it challenger again is told that it has had its rollout."""
    rolling.requests(20, "a", failing=2)
    assert rolling.settle() == 1
    assert (rolling.traffic().stable, rolling.traffic().canary) == (1, None)
    assert rolling.aliases() == (1, None)
    rollout = rolling.rollout()
    assert rollout.state is RolloutState.ROLLED_BACK
    assert rollout.verdict is not None and "failed" in rollout.verdict.because
    point(rolling.workspace, CHALLENGER, 2)
    rolling.settle()
    assert rolling.aliases() == (1, None)
    assert rolling.rollouts() == [(1, "promoted"), (2, "rolled_back")]
    with rolling.workspace.database.read() as tx:
        assert list_alias_moves(tx, "late")[-1].why == "late@2 is champion or has had its rollout"


def test_without_a_proof_of_safety_the_stable_revision_stays(rolling: Scene) -> None:
    """When the days are used up, and not a moment before."""
    rolling.requests(5, "a")
    rolling.now += 3 * DAY - timedelta(seconds=1)
    assert rolling.settle() == 0
    rolling.now += timedelta(seconds=1)
    assert rolling.settle() == 1
    assert rolling.rollouts()[-1] == (2, "inconclusive")
    assert (rolling.traffic().stable, rolling.aliases()) == (1, (1, None))


def test_a_champion_that_is_moved_by_hand_is_followed_at_once(rolling: Scene) -> None:
    """A comparison with somebody else means nothing: the rollout ends without a winner."""
    register(rolling.workspace, 3)
    rolling.requests(20, "a", failing=2)
    point(rolling.workspace, CHAMPION, 3)
    rolling.settle()
    rollout = rolling.rollout()
    assert (rollout.canary, rollout.state) == (2, RolloutState.INCONCLUSIVE)
    assert (
        rollout.verdict is not None and rollout.verdict.because == "the champion was moved to late@3 by hand"
    )
    assert (rolling.traffic().stable, rolling.traffic().canary, rolling.aliases()) == (3, None, (3, None))


def test_a_canary_that_is_promoted_by_hand_has_all_traffic(rolling: Scene) -> None:
    """The rollout is over, and the version is no challenger any more."""
    point(rolling.workspace, CHAMPION, 2)
    rolling.settle()
    assert (rolling.traffic().stable, rolling.traffic().canary, rolling.aliases()) == (2, None, (2, None))
    assert rolling.rollouts() == [(1, "promoted"), (2, "inconclusive")]


def test_a_champion_that_is_taken_away_leaves_nobody_to_answer(rolling: Scene) -> None:
    """And the challenger does not slip into its place in the middle of its rollout; it may go live after it."""
    with rolling.workspace.database.write() as tx:
        drop_alias(tx, rolling.workspace, model="late", alias=CHAMPION, who="ann", why="a test")
    assert reconcile(rolling.workspace, ENDPOINT)
    assert (rolling.traffic().stable, rolling.traffic().canary) == (None, None)
    assert rolling.rollouts()[-1] == (2, "inconclusive")


def test_a_newer_challenger_waits_for_its_turn(rolling: Scene) -> None:
    """One rollout at a time; the one that runs is judged to its end, and then the newer one is held against the winner."""
    register(rolling.workspace, 3, alias=CHALLENGER)
    assert rolling.settle() == 0
    for name in ("a", "b"):
        rolling.requests(10, name)
        rolling.settle()
    assert rolling.rollouts() == [(1, "promoted"), (2, "promoted"), (3, "running")]
    assert (rolling.traffic().stable, rolling.traffic().canary) == (2, 3)
    assert rolling.traffic().salt != "late-late-2"
    assert rolling.aliases() == (2, 3)


def test_a_plan_that_is_changed_under_way_is_followed(rolling: Scene) -> None:
    """Another percentage comes into force; a plan that lost the step it is at ends without a winner."""
    wider = Endpoint("late", model="late", rollout=replace(PLAN, steps=(30, 50), shadow=True))
    assert rolling.settle(wider) == 1
    assert (rolling.traffic().split.canary, rolling.traffic().shadow) == (30, True)
    rolling.requests(10, "a")
    rolling.settle(wider)
    assert rolling.rollout().step == 1
    shorter = Endpoint("late", model="late", rollout=replace(PLAN, steps=(30,)))
    rolling.settle(shorter)
    verdict = rolling.rollout().verdict
    assert verdict is not None and "the plan has 1 steps now" in verdict.because
    assert (rolling.traffic().stable, rolling.rollouts()[-1]) == (1, (2, "inconclusive"))


def test_all_at_once_asks_for_no_evidence(scene: Scene) -> None:
    """The plan says so, and the record repeats it."""
    at_once = Endpoint("late", model="late", rollout=AllAtOnce())
    for version in (1, 2):
        register(scene.workspace, version, alias=CHALLENGER)
        scene.settle(at_once)
        assert (scene.traffic().stable, scene.aliases()) == (version, (version, None))
    verdict = scene.rollout().verdict
    assert verdict is not None and "to look at nothing" in verdict.because


def test_an_endpoint_that_names_another_model_serves_its_champion(rolling: Scene) -> None:
    """What ran for the old model is over; the new one begins like every model."""
    other = Endpoint("late", model="later", rollout=PLAN)
    register(rolling.workspace, 1, model="later", alias=CHAMPION)
    rolling.settle(other)
    assert (rolling.traffic().model, rolling.traffic().stable, rolling.traffic().canary) == ("later", 1, None)
    assert rolling.rollouts()[-1] == (2, "inconclusive")
    register(rolling.workspace, 2, model="later", alias=CHALLENGER)
    rolling.settle(other)
    assert (rolling.traffic().stable, rolling.traffic().canary) == (1, 2)


def test_controllers_that_look_at_once_take_each_step_once(rolling: Scene) -> None:
    """Whoever comes second sees that the world has moved on, and takes no step on what it saw before."""
    rolling.requests(10, "a")
    for name, told in (("b", "rollout.stepped"), ("c", "rollout.promoted")):
        ready = threading.Barrier(4)
        done: list[bool] = []

        def step(ready: threading.Barrier = ready, done: list[bool] = done) -> None:
            ready.wait()
            done.append(reconcile(rolling.workspace, ENDPOINT))

        threads = [threading.Thread(target=step) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (sum(done), rolling.told().count(told)) == (1, 1 if told == "rollout.stepped" else 2)
        if name == "b":
            rolling.requests(10, name)


@pytest.mark.parametrize("dated", [datetime(1999, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_a_client_cannot_date_a_failure_out_of_the_rollout(rolling: Scene, dated: datetime) -> None:
    """A canary that fails is taken back, whatever `time` and whatever id its requests carry."""
    for number in range(10):
        row = prediction(
            f"{number}", time=dated, version=2, arm=Arm.CANARY, share=20, failed=True, output=None
        )
        log(rolling.workspace, [replace(row, arrived_at=rolling.now, request_id="always the same")])
    rolling.settle()
    assert rolling.rollouts()[-1] == (2, "rolled_back")


def test_what_arrived_before_the_rollout_is_no_part_of_it(rolling: Scene) -> None:
    """A date in the future does not bring an old request in."""
    row = prediction("old", time=rolling.now + DAY, version=1, share=80, failed=True, output=None)
    log(rolling.workspace, [replace(row, arrived_at=rolling.now - DAY)])
    assert (rolling.settle(), rolling.evidence()) == (0, Evidence())


def test_what_stands_in_the_log_before_the_rollout_is_not_read_for_it(scene: Scene) -> None:
    """A log of years makes no look at a rollout slower: it begins where the log ended when the rollout began."""
    workspace = scene.workspace
    register(workspace, 1, alias=CHALLENGER)
    scene.settle()
    log(workspace, [prediction("earlier", time=scene.now, version=1, share=80)])
    register(workspace, 2, alias=CHALLENGER)
    scene.settle()
    log(workspace, [prediction("later", time=scene.now, version=1, share=80)])
    assert scene.evidence().requests == {20: 1}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.integers(-9, 9), min_size=2, max_size=6), failing=st.integers(0, 5))
def test_the_first_request_of_a_unit_is_the_one_that_arrived_first(
    rolling: Scene, times: list[int], failing: int
) -> None:
    """However its requests are dated and named: which of them failed is told by their order at the door."""
    unit, before = f"unit-{next(_fresh)}", rolling.evidence().firsts
    for place, days in enumerate(times):
        row = prediction(
            f"{unit}-{-days}-{place}",
            time=rolling.now + days * DAY,
            version=2,
            arm=Arm.CANARY,
            share=20,
            unit=unit,
            failed=place == failing,
        )
        log(rolling.workspace, [replace(row, arrived_at=rolling.now)])
    found = rolling.evidence().firsts
    met = (20, Arm.CANARY, failing == 0)
    assert found == {**before, met: before.get(met, 0) + 1}


REAL = Endpoint(
    "late",
    model="late",
    rollout=Canary(steps=(50,), min_requests=60, judge=error_rate(margin=0.3) & quality(margin=0.3)),
)


@pytest.mark.parametrize(("output", "state"), [(0.9, "promoted"), (0.1, "rolled_back")])
def test_the_judges_of_the_house_decide_by_what_the_labels_say(
    scene: Scene, output: float, state: str
) -> None:
    """A canary that is right is promoted and one that is wrong is rolled back, once the labels have come and not before."""
    register(scene.workspace, 1, alias=CHAMPION)
    scene.settle(REAL)
    register(scene.workspace, 2, alias=CHALLENGER)
    scene.settle(REAL)
    ids = ask(scene.workspace, scene.traffic(), [f"r{n}" for n in range(120)], outputs={1: 0.5, 2: output})
    assert scene.settle(REAL) == 0
    scene.now += DAY
    label(scene.workspace, dict.fromkeys(ids, 1.0))
    assert scene.settle(REAL) == 1
    assert scene.rollouts()[-1] == (2, state)


def _weighed_by(metric: Metric) -> Endpoint:
    plan = Canary(
        steps=(50,), min_requests=60, judge=error_rate(margin=0.3) & quality(margin=0.3 * 5, metric=metric)
    )
    return Endpoint("late", model="late", rollout=plan)


@pytest.mark.parametrize(
    ("losses", "told", "state"),
    [
        (lambda score, label: 5 * (score - label) ** 2, "the canary's cost less the stable", "promoted"),
        (lambda score, label: score[1:], "cannot be evaluated: the losses of metric cost are", "rolled_back"),
        (lambda score, label: score * 9, "which is not from 0 to 5", "rolled_back"),
        (lambda score, label: 1 / 0, "cannot be evaluated: metric cost cannot be computed", "rolled_back"),
    ],
)
def test_a_metric_of_the_users_own_weighs_a_rollout_and_ends_it_when_it_breaks(
    scene: Scene, losses: Callable[[Any, Any], Any], told: str, state: str
) -> None:
    """What cannot be evaluated is no proof: the stable revision keeps the traffic, and the verdict says why."""
    endpoint = _weighed_by(Metric("cost", losses=losses, bound=5.0))
    register(scene.workspace, 1, alias=CHAMPION)
    scene.settle(endpoint)
    register(scene.workspace, 2, alias=CHALLENGER)
    scene.settle(endpoint)
    ids = ask(scene.workspace, scene.traffic(), [f"r{n}" for n in range(120)], outputs={1: 0.5, 2: 0.9})
    assert scene.settle(endpoint) == 0
    label(scene.workspace, dict.fromkeys(ids, 1.0))
    assert scene.settle(endpoint) == 1
    assert scene.rollouts()[-1] == (2, state)
    verdict = scene.rollout().verdict
    assert verdict is not None and verdict.passed == (state == "promoted")
    parts = (verdict.because, *(part.because for part in verdict.parts))
    assert any(told in because for because in parts)
    assert scene.aliases() == (2 if state == "promoted" else 1, None)


def test_answers_of_the_model_that_the_endpoint_named_before_are_no_evidence(rolling: Scene) -> None:
    """A server that has not followed yet still answers with it, and its versions have the same numbers."""
    now = rolling.now
    rows = [
        prediction(f"{model}-{n}", time=now, version=2, model=model, arm=Arm.CANARY, share=20)
        for model in ("late", "other")
        for n in range(3)
    ]
    log(rolling.workspace, rows)
    assert rolling.evidence().requests == {20: 3}
