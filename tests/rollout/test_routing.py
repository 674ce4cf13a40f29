"""Routing: the same unit always lands in the same place."""

import math

from hypothesis import given
from hypothesis import strategies as st

from everloop.records.serving import Arm
from everloop.rollout.routing import arm

PERCENT = st.integers(0, 100)


@given(st.text(), st.text(), PERCENT, PERCENT)
def test_a_unit_stays_in_the_canary_while_its_share_grows(unit: str, salt: str, low: int, high: int) -> None:
    """Whoever is in the canary at one percentage is in it at every higher one; at 0 nobody is, at 100 everybody."""
    low, high = sorted((low, high))
    if arm(unit, salt, low) is Arm.CANARY:
        assert arm(unit, salt, high) is Arm.CANARY
    assert arm(unit, salt, 0) is Arm.STABLE
    assert arm(unit, salt, 100) is Arm.CANARY


def test_every_percentage_gets_its_share() -> None:
    """Of 20,000 units every split gets its percentage within five standard errors."""
    for percent in (1, 10, 50, 90):
        got = sum(arm(f"user-{n}", "salt", percent) is Arm.CANARY for n in range(20_000))
        expected = 200 * percent
        assert abs(got - expected) < 5 * math.sqrt(expected * (1 - percent / 100))


def test_a_new_salt_draws_anew() -> None:
    """Being in one rollout's canary says nothing about the next one's: a quarter of all units are in both halves."""
    both = sum(arm(f"u{n}", "one", 50) is arm(f"u{n}", "two", 50) is Arm.CANARY for n in range(20_000))
    assert abs(both - 5_000) < 5 * math.sqrt(20_000 * 0.25 * 0.75)


def test_salt_and_unit_do_not_run_into_each_other() -> None:
    """Salt `a` with unit `bc` is another draw than salt `ab` with unit `c`."""
    split = [(arm(f"b{n}", "a", 50), arm(f"{n}", "ab", 50)) for n in range(200)]
    assert 60 < sum(one is other for one, other in split) < 140


def test_a_unit_that_is_not_unicode_is_routed_all_the_same() -> None:
    """A lone surrogate, which JSON lets through, is a unit like any other."""
    assert arm("\ud800", "salt", 50) in (Arm.STABLE, Arm.CANARY)
