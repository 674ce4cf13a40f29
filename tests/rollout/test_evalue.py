"""E-values: fair under the claim, to the last possible outcome, and the same in every order."""

import itertools
import math
import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.records.serving import Arm
from everloop.rollout.evalue import MORE_OFTEN, OTHERWISE, Gain, fewest, mean_above_zero, which_arm

ARMS = (Arm.STABLE, Arm.CANARY)
RAMP = (10, 10, 20, 50, 50, 80)


def _chance(percent: int, where: Arm, ratio: float) -> float:
    share = percent / 100
    canary = ratio * share / (ratio * share + 1 - share)
    return canary if where is Arm.CANARY else 1 - canary


@pytest.mark.parametrize("ratios", [MORE_OFTEN, OTHERWISE])
def test_a_bet_on_the_arm_is_fair_when_the_claim_just_holds(ratios: tuple[float, ...]) -> None:
    """Over all 64 ways that six events can fall during a ramp, the mean e-value is exactly 1."""
    mean = math.fsum(
        math.exp(which_arm(Counter(zip(RAMP, arms, strict=True)), ratios))
        * math.prod(_chance(percent, where, 1.0) for percent, where in zip(RAMP, arms, strict=True))
        for arms in itertools.product(ARMS, repeat=len(RAMP))
    )
    assert mean == pytest.approx(1.0, abs=1e-12)


def test_a_bet_on_harm_loses_when_the_canary_is_better() -> None:
    """Where the canary errs half as often, the mean e-value of a bet that it errs more often is below 1."""
    mean = math.fsum(
        math.exp(which_arm(Counter(zip(RAMP, arms, strict=True)), MORE_OFTEN))
        * math.prod(_chance(percent, where, 0.5) for percent, where in zip(RAMP, arms, strict=True))
        for arms in itertools.product(ARMS, repeat=len(RAMP))
    )
    assert mean < 0.9


@given(st.lists(st.tuples(st.integers(1, 99), st.sampled_from(ARMS)), max_size=30))
def test_the_bet_on_the_arm_is_a_product_of_likelihood_ratios(events: list[tuple[int, Arm]]) -> None:
    """Counted or one by one, the wealth is the mean over ratios of the product of chances under the ratio and under 1."""
    slow = [
        math.prod(_chance(percent, where, ratio) / _chance(percent, where, 1.0) for percent, where in events)
        for ratio in MORE_OFTEN
    ]
    assert which_arm(Counter(events), MORE_OFTEN) == pytest.approx(
        math.log(math.fsum(slow) / len(slow)), abs=1e-9
    )


def test_an_arm_without_traffic_is_no_evidence() -> None:
    """What happens at 0 or at 100 percent could not have fallen elsewhere and counts for nothing."""
    assert which_arm({(0, Arm.STABLE): 50, (100, Arm.CANARY): 50}, MORE_OFTEN) == 0.0


def test_a_bet_on_a_mean_is_fair_when_the_claim_just_holds() -> None:
    """Over all outcomes of five draws with mean exactly zero, the mean e-value is exactly 1."""
    draws = ((-1.0, 0.25), (-0.2, 0.25), (0.6, 0.5))
    mean = math.fsum(
        math.exp(mean_above_zero([Gain(gain, 1.0) for gain, _ in path]))
        * math.prod(chance for _, chance in path)
        for path in itertools.product(draws, repeat=5)
    )
    assert mean == pytest.approx(1.0, abs=1e-12)


@given(st.lists(st.tuples(st.integers(-8, 8), st.integers(8, 16)), max_size=12))
def test_the_bet_on_a_mean_is_a_mixture_of_fixed_stakes(draws: list[tuple[int, int]]) -> None:
    """The wealth is, in exact fractions, the weighted mean over stakes of the product of 1 + stake * gain / most_lost."""
    stakes = [(Fraction(0.95) / 2**k, Fraction(1, 2 ** (k + 1))) for k in range(8)]
    total = sum(weight for _, weight in stakes)
    slow = sum(
        weight * math.prod((1 + stake * Fraction(gain, most) for gain, most in draws), start=Fraction(1))
        for stake, weight in stakes
    )
    found = mean_above_zero([Gain(float(gain), float(most)) for gain, most in draws])
    assert math.exp(found) == pytest.approx(float(slow / total), rel=1e-9)


@given(st.lists(st.floats(-1, 1), max_size=40), st.randoms(use_true_random=False))
def test_order_is_not_seen_to_the_last_bit(gains: list[float], rng: random.Random) -> None:
    """The same gains in another order give the identical float, so a verdict can be recomputed from rows in any order."""
    shuffled = gains[:]
    rng.shuffle(shuffled)
    assert mean_above_zero(Gain(g, 1.0) for g in gains) == mean_above_zero(Gain(g, 1.0) for g in shuffled)


def test_the_worst_draws_ruin_nobody() -> None:
    """Even after a thousand draws at the very worst value the wealth is a finite logarithm and can recover."""
    ruined = mean_above_zero([Gain(-1.0, 1.0, 1_000)])
    assert math.isfinite(ruined)
    assert mean_above_zero([Gain(-1.0, 1.0, 1_000), Gain(1.0, 1.0, 5_000)]) > 0


@pytest.mark.parametrize(
    ("gain", "most_lost", "alpha"), [(0.01, 0.99, 0.01), (0.02, 1.98, 0.01), (0.3, 0.7, 0.05)]
)
def test_fewest_is_the_first_count_that_proves_it(gain: float, most_lost: float, alpha: float) -> None:
    """One fewer of the same gain does not reach the limit."""
    enough = fewest(gain, most_lost, -math.log(alpha))
    wealth = [mean_above_zero([Gain(gain, most_lost, count)]) for count in (enough - 1, enough)]
    assert wealth[0] < -math.log(alpha) <= wealth[1]
