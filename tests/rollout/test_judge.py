"""The judge: it may look whenever it likes, and neither harm nor safety is said without proof."""

import itertools
import json
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from everloop.errors import InvalidInput
from everloop.evaluation.measure import bounded_losses
from everloop.evaluation.metric import METRICS, Metric
from everloop.records.checks import CheckResult
from everloop.records.serving import Arm, RolloutState
from everloop.rollout.canary import Canary
from everloop.rollout.evidence import Evidence
from everloop.rollout.judge import (
    Judge,
    Judgement,
    Verdict,
    error_rate,
    quality,
    weigh_errors,
    weigh_pairs,
)
from everloop.rollout.plan import Finished, Observed
from everloop.rollout.routing import arm
from tests.support.scored import ScoredRequest, evidence_of

PASS, MARGINAL, FAIL = Verdict.PASS, Verdict.MARGINAL, Verdict.FAIL
NOON = datetime(2013, 2, 1, 12, tzinfo=UTC)


def outcome(number: int, where: Arm, percent: int, **facts: object) -> ScoredRequest:
    """One request while the canary has `percent` of the traffic; a unit of its own unless one is given."""
    given = {"unit": f"r{number:06}", "failed": False, **facts}
    share = percent if where is Arm.CANARY else 100 - percent
    return ScoredRequest(seq=number, request_id=f"r{number:06}", arm=where, share=share, **given)  # type: ignore[arg-type]


def requests(
    seed: int, count: int, *, percent: int = 50, stable: float = 0.0, canary: float = 0.0, first: int = 0
) -> Iterator[ScoredRequest]:
    """Unlabelled requests, each its own unit, that fail at the rates given."""
    rng = random.Random(seed)
    for number in range(first, first + count):
        where = arm(f"r{number:06}", f"salt-{seed}", percent)
        yield outcome(
            number, where, percent, failed=rng.random() < (canary if where is Arm.CANARY else stable)
        )


def pairs(
    seed: int, count: int, *, percent: int = 50, harm: float = 0.0, first: int = 0
) -> Iterator[ScoredRequest]:
    """Labelled requests that both revisions scored, where the canary loses `harm` more on average and both scatter."""
    rng = random.Random(seed)
    for number in range(first, first + count):
        where = arm(f"r{number:06}", f"salt-{seed}", percent)
        extra = max(-1.0, min(1.0, harm + rng.gauss(0.0, 0.06)))
        base = 0.4
        mine, others = (
            (base + extra / 2, base - extra / 2)
            if where is Arm.CANARY
            else (base - extra / 2, base + extra / 2)
        )
        yield outcome(number, where, percent, loss=mine, other_loss=others)


def _judged(judge: Judge, drawn: Iterable[ScoredRequest]) -> Judgement:
    return judge(evidence_of(drawn, judge))


def _observed(plan: Canary, drawn: Iterable[ScoredRequest]) -> Observed:
    return Observed(evidence=evidence_of(drawn, plan.judge), elapsed=timedelta(days=1))


Fact = tuple[int, Arm, bool]


def _facts(seed: int, count: int, *, percent: int, stable: float, canary: float) -> Iterator[Fact]:
    """What `requests` draws, without the rows around it, so that hundreds of rollouts take a second."""
    rng = random.Random(seed)
    for _ in range(count):
        where = Arm.CANARY if rng.random() < percent / 100 else Arm.STABLE
        yield percent, where, rng.random() < (canary if where is Arm.CANARY else stable)


def _first_look(facts: Iterable[Fact], margin: float, *, every: int) -> tuple[Verdict, int]:
    """The first decisive verdict on errors of somebody who looks after every so many requests, and when it came."""
    seen: Counter[Fact] = Counter()
    failures: Counter[tuple[int, Arm]] = Counter()
    number = 0
    for number, (percent, where, failed) in enumerate(
        facts, 1
    ):  # each is its own unit, so counting is adding
        seen[percent, where, failed] += 1
        failures[percent, where] += failed
        if number % every == 0:
            verdict = weigh_errors(Evidence(firsts=seen, failures=failures), margin, 0.01).verdict
            if verdict is not MARGINAL:
                return verdict, number
    return MARGINAL, number


def test_a_healthy_canary_is_rarely_rolled_back_however_often_one_looks() -> None:
    """Of 300 canaries that err as often as stable, at 2 %, looked at 60 times each, at most 8 are failed (1 % are 3)."""
    rollouts = (_facts(seed, 1_500, percent=30, stable=0.02, canary=0.02) for seed in range(300))
    assert sum(_first_look(facts, 0.02, every=25)[0] is FAIL for facts in rollouts) <= 8


def test_a_canary_at_the_margin_is_rarely_passed_however_often_one_looks() -> None:
    """Of 300 canaries that err exactly the margin more often, at most 8 are passed (1 % are 3)."""
    rollouts = (_facts(seed, 1_500, percent=50, stable=0.01, canary=0.06) for seed in range(300))
    assert sum(_first_look(facts, 0.05, every=25)[0] is PASS for facts in rollouts) <= 8


@pytest.mark.parametrize(("percent", "limit"), [(50, 700), (10, 1_400)])
def test_five_points_of_errors_are_found_within_hundreds_of_requests(percent: int, limit: int) -> None:
    """With errors going from 1 to 6 % the median rollback comes within 700 requests at 50/50, within 1,400 at 10 %."""
    looks = [
        _first_look(_facts(seed, 6_000, percent=percent, stable=0.01, canary=0.06), 0.02, every=20)
        for seed in range(60)
    ]
    assert all(verdict is FAIL for verdict, _ in looks)
    assert sorted(when for _, when in looks)[30] <= limit


def test_a_ramp_with_a_drifting_base_rate_blames_nobody() -> None:
    """Errors that rise from 0.5 to 4 % on both arms while the canary grows from 5 to 50 % fail at most 6 of 150."""
    failed = 0
    for seed in range(150):
        ramp = ((5, 0.005), (20, 0.02), (50, 0.04))
        steps = (
            _facts(seed * 3 + step, 500, percent=percent, stable=rate, canary=rate)
            for step, (percent, rate) in enumerate(ramp)
        )
        failed += _first_look(itertools.chain.from_iterable(steps), 0.02, every=50)[0] is FAIL
    assert failed <= 6


def test_quality_keeps_its_error_rates_under_peeking() -> None:
    """Of 100 equal revisions at most 5 are failed, of 100 that are worse by exactly the margin at most 5 are passed."""
    wrong = {FAIL: 0, PASS: 0}
    for harm, mistake in ((0.0, FAIL), (0.02, PASS)):
        for seed in range(100):
            drawn = list(pairs(seed, 600, harm=harm))
            judge = quality(margin=0.02)
            verdicts = (_judged(judge, drawn[:n]).verdict for n in range(100, 601, 100))
            first = next((verdict for verdict in verdicts if verdict is not MARGINAL), MARGINAL)
            wrong[mistake] += first is mistake
    assert max(wrong.values()) <= 5


def test_quality_passes_an_equal_revision_and_fails_a_worse_one() -> None:
    """Given pairs enough, equal revisions pass and a revision that loses 0.05 more is failed; too few decide nothing."""
    judge = quality(margin=0.02)
    assert _judged(judge, pairs(1, 800)).verdict is PASS
    assert _judged(judge, pairs(1, 800, harm=0.05)).verdict is FAIL
    few = _judged(judge, pairs(1, 100))
    assert few.verdict is MARGINAL
    assert "a pass takes 274 pairs at least" in few.result.because


def test_the_proof_of_safety_is_fair_at_the_margin() -> None:
    """Over all ways that four requests of a ramp can go when the canary errs the margin more, its mean e-value is 1."""
    margin, base, ramp = 0.1, (0.05, 0.2, 0.0, 0.4), (10, 20, 50, 50)
    paths = itertools.product(itertools.product((Arm.STABLE, Arm.CANARY), (False, True)), repeat=4)
    total = []
    for path in paths:
        chance = 1.0
        for percent, rate, (where, failed) in zip(ramp, base, path, strict=True):
            share = percent / 100 if where is Arm.CANARY else 1 - percent / 100
            fails = rate + margin if where is Arm.CANARY else rate
            chance *= share * (fails if failed else 1 - fails)
        seen = Counter((percent, *one) for percent, one in zip(ramp, path, strict=True))
        judgement = weigh_errors(Evidence(firsts=seen), margin, 0.01)
        total.append(chance * math.exp(judgement.numbers["errors.safe_log_e"]))
    assert math.fsum(total) == pytest.approx(1.0, abs=1e-12)


def test_the_fewest_pairs_that_can_pass_do_pass() -> None:
    """Revisions that never differ pass at the number of pairs that the judge names, and not one earlier."""
    drawn = [outcome(n, Arm.CANARY, 50, loss=0.3, other_loss=0.3) for n in range(274)]
    verdicts = [_judged(quality(margin=0.02), drawn[:n]).verdict for n in (273, 274)]
    assert verdicts == [MARGINAL, PASS]


def test_a_canary_with_nothing_beside_it_is_not_safe() -> None:
    """Four hundred good answers of a canary at 99 percent pass nothing as long as stable has answered nobody."""
    alone = [outcome(n, Arm.CANARY, 99) for n in range(400)]
    judgement = _judged(error_rate(margin=0.5), alone)
    assert judgement.numbers["errors.safe_log_e"] > math.log(100)
    assert judgement.verdict is MARGINAL


@pytest.mark.parametrize("name", sorted(name for name, metric in METRICS.items() if metric.bound is not None))
def test_every_loss_has_a_worst_case_that_no_answer_exceeds(name: str) -> None:
    """No answer, a nonsense answer and a sure wrong answer cost the worst; a label that is no number is refused."""
    metric = METRICS[name]
    worst = metric.bound
    assert bounded_losses(metric, [None, math.nan, math.inf], [1.0, 1.0, 0.0]) == [worst] * 3
    assert bounded_losses(metric, [0.0, 17.0, 0.5], [1.0, -1.0, 17.0])[:2] == pytest.approx([worst] * 2)
    assert bounded_losses(metric, [1.0], [1.0])[0] < 0.02
    with pytest.raises(InvalidInput):
        bounded_losses(metric, [0.5], [math.nan])


def test_the_capped_log_loss_is_capped() -> None:
    """However sure and wrong an answer is, it costs what one costs that is 99 % sure."""
    costs = bounded_losses(METRICS["log_loss_capped"], [0.99, 0.999, 1.0], [0.0] * 3)
    assert costs == [METRICS["log_loss_capped"].bound] * 3


def _slowly(name: str, output: float | None, label: float) -> float:
    """What an answer cost a judge in 0.1."""
    if output is None or not math.isfinite(output):
        return 1.0 if name == "brier" else -math.log1p(-0.99)
    if name == "brier":
        return min((output - label) ** 2, 1.0)
    held = min(max(output, 1 - 0.99), 0.99)
    return min(-(label * math.log(held) + (1 - label) * math.log1p(-held)), -math.log1p(-0.99))


@pytest.mark.parametrize("name", ["brier", "log_loss_capped"])
def test_losses_are_those_of_a_slow_loop_to_the_last_bit(name: str) -> None:
    """Evidence is weighed anew at every look, also by another version of everloop: not one bit may move."""
    rng = random.Random(11)
    answers = [rng.choice([rng.random(), rng.random() ** 9, 0.0, 1.0, None]) for _ in range(20_000)]
    labels = [float(rng.random() < 0.4) for _ in answers]
    slowly = [_slowly(name, answer, label) for answer, label in zip(answers, labels, strict=True)]
    assert bounded_losses(METRICS[name], answers, labels) == slowly


def test_no_evidence_is_never_a_pass() -> None:
    """No requests, no labels, one arm alone or one revision's scores alone: nothing passes."""
    only_stable = [outcome(n, Arm.STABLE, 20, loss=0.1) for n in range(3_000)]
    for outcomes in ((), tuple(requests(1, 3_000)), tuple(only_stable)):
        assert _judged(quality(), outcomes).verdict is MARGINAL
    assert error_rate()(Evidence()).verdict is MARGINAL
    settled = [outcome(n, Arm.CANARY, 100) for n in range(3_000)] + [
        outcome(9_000 + n, Arm.STABLE, 0) for n in range(3_000)
    ]
    assert _judged(error_rate(), settled).verdict is MARGINAL


def test_a_canary_whose_requests_are_lost_is_no_safe_canary() -> None:
    """When the canary's outcomes never arrive the judge fails it, because the arms do not have their shares."""
    lost = tuple(one for one in requests(3, 2_000, percent=20) if one.arm is Arm.STABLE)
    judgement = _judged(error_rate(), lost)
    assert judgement.verdict is FAIL
    assert "split as planned" in judgement.result.because


def test_a_unit_that_fails_again_and_again_is_counted_once() -> None:
    """Forty failures of one unlucky user in the canary say no more than its first."""
    calm = list(requests(5, 400, percent=50))
    unlucky = [outcome(1_000 + n, Arm.CANARY, 50, unit="unlucky", failed=True) for n in range(40)]
    once, often = (_judged(error_rate(), [*calm, *unlucky[:n]]) for n in (1, 40))
    assert once.numbers == often.numbers
    assert often.verdict is not FAIL


def test_the_order_of_arrival_cannot_be_seen() -> None:
    """Shuffled rows give the same verdict, the same words and the same numbers to the last bit, also when units repeat."""
    judge = error_rate() & quality()
    drawn = [replace(one, unit=f"u{number % 150}") for number, one in enumerate(pairs(7, 500, harm=0.01))]
    # Two rows of one request, one failed.
    drawn += [
        outcome(9_998 + failed, Arm.CANARY, 50, unit="twice", failed=failed) for failed in (False, True)
    ]
    first = _judged(judge, drawn)
    for seed in range(5):
        random.Random(seed).shuffle(drawn)
        again = _judged(judge, drawn)
        assert again == first
    assert json.loads(json.dumps(dict(first.numbers))) == first.numbers


def test_counts_are_those_of_first_requests_and_first_failures() -> None:
    """What the judge of errors takes from the evidence is what a slow reading of the rule gives."""
    drawn = [
        replace(one, unit=f"u{number % 70}")
        for number, one in enumerate(requests(2, 400, stable=0.2, canary=0.2))
    ]
    units: dict[str, list[ScoredRequest]] = {}
    for one in sorted(drawn, key=lambda one: one.seq):
        units.setdefault(one.unit, []).append(one)
    counts = evidence_of(reversed(drawn))
    assert counts.firsts == Counter(
        (mine[0].canary_percent, mine[0].arm, mine[0].failed) for mine in units.values()
    )
    firsts = [next((one for one in mine if one.failed), None) for mine in units.values()]
    assert counts.failures == Counter((one.canary_percent, one.arm) for one in firsts if one)


def _says(verdict: Verdict, name: str, **numbers: float) -> Judge:
    result = CheckResult(name=name, passed=verdict is PASS, because=f"{name} is {verdict}")
    return Judge(name, (name,), lambda _: Judgement(verdict=verdict, result=result, numbers=numbers))


@pytest.mark.parametrize(("left", "right"), list(itertools.product(Verdict, Verdict)))
def test_of_two_judges_the_worse_is_heard(left: Verdict, right: Verdict) -> None:
    """Fail is heard before marginal and marginal before pass, and both answers are kept as parts."""
    both = (_says(left, "a", a=1.0) & _says(right, "b", b=2.0))(Evidence())
    assert both.verdict is max(left, right, key=lambda verdict: verdict.severity)
    assert both.result.passed == (left is right is PASS)
    assert [part.name for part in both.result.parts] == ["a", "b"]
    assert both.numbers == {"a": 1.0, "b": 2.0}
    assert f"is {both.verdict}" in both.result.because


def test_a_judge_that_breaks_says_fail() -> None:
    """A judge that cannot be evaluated does not let a canary through, joined or alone."""
    broken = Judge("broken", ("broken",), lambda evidence: weigh_pairs(evidence, 0.01, 0.01))
    unsummed = Evidence(pairs={50: 1}, sums=((0.1,),))
    assert broken(unsummed).verdict is FAIL
    assert (_says(PASS, "a") & broken)(unsummed).result.because.startswith("cannot be evaluated: ValueError")


def test_outcomes_with_another_loss_are_not_judged() -> None:
    """Log losses shown to a judge of Brier losses are no evidence of anything: it refuses them and says what it wants."""
    with pytest.raises(InvalidInput, match="the loss named 'brier'"):
        _judged(quality(), [outcome(1, Arm.CANARY, 50, loss=0.1, other_loss=4.6)])


def test_two_judges_of_the_same_thing_are_refused() -> None:
    """Joining two judges of errors, or of two losses, would count one proof twice; it is refused where it is written."""
    with pytest.raises(InvalidInput, match="both judge errors"):
        error_rate() & error_rate(margin=0.1)
    with pytest.raises(InvalidInput, match="both judge quality"):
        quality() & (error_rate() & quality(metric="log_loss_capped"))
    assert (error_rate() & quality(metric="log_loss_capped")).metric == METRICS["log_loss_capped"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: error_rate(margin=0.0),
        lambda: error_rate(alpha=1.0),
        lambda: quality(margin=-0.1),
        lambda: quality(margin=math.nan),
        lambda: quality(metric="hinge"),
        lambda: quality(metric="log_loss"),
        lambda: quality(metric="auc"),
        lambda: quality(metric=Metric("cost", losses=lambda score, label: score - label)),
        lambda: quality(metric=Metric("cost", losses=lambda score, label: score, bound=2.0), margin=2.0),
    ],
)
def test_nonsense_is_refused_where_it_is_written(wrong: object) -> None:
    """A margin, a rate or a loss that means nothing is an error at once."""
    assert callable(wrong)
    with pytest.raises(InvalidInput):
        wrong()


def test_a_share_is_read_from_either_arm() -> None:
    """The canary's percentage is the share of a canary's request and what is left by a stable one's."""
    share = ScoredRequest(seq=1, request_id="r", unit="u", arm=Arm.STABLE, share=80, failed=False)
    assert (share.canary_percent, replace(share, arm=Arm.CANARY).canary_percent) == (20, 80)


def test_a_replay_of_real_evidence_gives_the_same_verdict_to_the_last_bit() -> None:
    """A good canary is promoted by the shipped judges, and its verdict repeats exactly from a copy of the rows."""
    plan = Canary(steps=(20, 50), min_requests=150, judge=error_rate(margin=0.05) & quality(margin=0.02))
    drawn = [*pairs(1, 400, percent=20), *pairs(2, 600, percent=50, first=400)]
    copy = msgspec.json.decode(msgspec.json.encode(drawn[::-1]), type=list[ScoredRequest])
    first, again = (plan.advance(1, _observed(plan, rows)) for rows in (drawn, copy))
    assert first == again
    assert isinstance(first, Finished)
    assert first.state is RolloutState.PROMOTED
    assert msgspec.json.decode(msgspec.json.encode(first), type=Finished) == first


def test_a_bad_canary_is_taken_back_by_the_shipped_judge() -> None:
    """A canary that fails 8 % of its requests beside a stable revision at 1 % is rolled back at its first step."""
    plan = Canary(judge=error_rate(), shadow=False)
    bad = list(requests(4, 3_000, percent=20, stable=0.01, canary=0.08))
    end = plan.advance(0, _observed(plan, bad))
    assert isinstance(end, Finished)
    assert end.state is RolloutState.ROLLED_BACK
    assert "the canary errs no more often" in end.verdict.because


def test_a_project_can_name_its_judge_without_loading_numpy() -> None:
    """Importing the whole room of rollouts loads no numerical library."""
    code = "import sys, everloop.rollout.canary, everloop.rollout.routing; print({'numpy', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_one_unit_for_all_traffic_is_told() -> None:
    """A client that sends the same unit with everything can never be judged, and the judge says what to send."""
    same = [replace(one, unit="batch-job") for one in requests(3, 500)]
    said = _judged(error_rate(), same)
    assert said.verdict is MARGINAL
    assert "every request is of the unit 'batch-job', which counts once: send a unit" in said.result.because
    alone = _judged(error_rate(), same[:1])
    assert "which counts once" not in alone.result.because
    two = [replace(one, unit=f"job-{number % 2}") for number, one in enumerate(same)]
    assert "which counts once" not in _judged(error_rate(), two).result.because
