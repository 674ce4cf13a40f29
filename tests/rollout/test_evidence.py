"""Evidence is added up: in any parts and any order it is the same to the last bit, and what is taken out is gone."""

import math
import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from everloop.records.serving import Arm
from everloop.rollout.evalue import exact_sum
from everloop.rollout.evidence import Evidence, of_pairs
from everloop.rollout.judge import quality

NUMBERS = st.lists(st.floats(-1e6, 1e6) | st.floats(-1e-9, 1e-9), max_size=30)
CELLS = st.dictionaries(
    st.tuples(st.sampled_from([20, 50]), st.sampled_from([Arm.STABLE, Arm.CANARY]), st.booleans()),
    st.integers(1, 9),
    max_size=4,
)


@given(NUMBERS, NUMBERS, st.randoms(use_true_random=False))
def test_an_exact_sum_depends_on_nothing_but_the_numbers(
    left: list[float], right: list[float], rng: random.Random
) -> None:
    """In one go, in two parts or in another order: the same tuple, whose first number is the sum rounded once."""
    whole = exact_sum(left + right)
    mixed = left + right
    rng.shuffle(mixed)
    assert exact_sum(mixed) == whole == exact_sum([*exact_sum(left), *exact_sum(right)])
    assert (whole[0] if whole else 0.0) == math.fsum(left + right)


@given(NUMBERS, NUMBERS)
def test_what_is_taken_out_of_an_exact_sum_was_never_there(left: list[float], right: list[float]) -> None:
    """Not even in the bits that a float would have rounded away."""
    both = exact_sum(left + right)
    assert exact_sum([*both, *(-number for number in right)]) == exact_sum(left)


EXTRA = st.lists(st.tuples(st.sampled_from([20, 50]), st.floats(-1, 1)), max_size=12)


def _of(pairs: Sequence[tuple[int, float]], *, taken_out: bool = False) -> Evidence:
    judge = quality()
    assert judge.terms is not None
    terms = [judge.terms(extra) for _, extra in pairs]
    return of_pairs([percent for percent, _ in pairs], terms, taken_out=taken_out)


@given(EXTRA, EXTRA)
def test_pairs_that_are_taken_out_are_evidence_no_longer(
    left: list[tuple[int, float]], right: list[tuple[int, float]]
) -> None:
    """Counts and every sum are as if they had never been counted."""
    assert _of(left) + _of(right) == _of(left + right)
    assert _of(left + right) + _of(right, taken_out=True) == _of(left)
    assert _of(left) + _of(left, taken_out=True) == Evidence()


@given(CELLS, CELLS, CELLS)
def test_evidence_adds_up_in_any_parts(
    one: dict[tuple[int, Arm, bool], int],
    two: dict[tuple[int, Arm, bool], int],
    three: dict[tuple[int, Arm, bool], int],
) -> None:
    """Parts may be joined in any way, nothing added changes nothing, and the first unit is that of the first part."""
    a, b, c = (Evidence(firsts=cells, unit=name) for cells, name in ((one, "a"), (two, None), (three, "c")))
    assert (a + b) + c == a + (b + c)
    assert a + Evidence() == a == Evidence() + a
    assert (a + c).unit == "a" and (b + c).unit == "c"
    assert (a + b).units == a.units + b.units
