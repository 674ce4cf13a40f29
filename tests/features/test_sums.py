"""Sums over windows against exact fractions: equal in every bit, whatever the numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from everloop.features.sums import Summed, sum_floats, sum_integers

FINITE = st.floats(allow_nan=False, allow_infinity=False)
# Halves and their neighbours: sums of these end exactly between two floats, where ties go to even.
TIES = st.builds(
    lambda whole, power: whole * 2.0**power,
    st.integers(-(2**53), 2**53) | st.sampled_from([1, -1, 2**53 - 1]),
    st.integers(-60, 60) | st.sampled_from([0, 1, 52, 53, -1074 + 53, 970]),
)


def prefixes(rows: int) -> Summed:
    """A window for each number of leading rows, the empty one first."""

    def summed(
        values: np.ndarray[tuple[int], np.dtype[np.int64]],
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        assert len(values) == rows
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])

    return summed


def nearest(exact: Fraction) -> float:
    """The float nearest to a fraction, infinite beyond the largest."""
    try:
        return float(exact)
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")


@settings(deadline=None)
@given(st.lists(FINITE | TIES, max_size=12))
@example([2.0**64, 2.0**11])  # a tie: down to the even neighbour
@example([2.0**64, 2.0**12, 2.0**11])  # a tie: up to the even neighbour
@example([2.0**64, 2.0**11, 2.0**-200])  # no tie: the last digit of many decides
@example([-(2.0**64), -(2.0**11), -5e-324])
@example([1e308, 1e308, -1e308, -1e308])  # infinite on the way, not at the end
def test_floats_are_summed_exactly_and_rounded_once(values: list[float]) -> None:
    """From subnormal to the largest, with every cancellation and tie."""
    expected = [nearest(sum(map(Fraction, values[:end]), Fraction(0))) for end in range(len(values) + 1)]
    found = sum_floats(np.array(values, np.float64), prefixes(len(values)))
    assert found.tolist() == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from([1.5, -2.0, float("inf"), float("-inf"), float("nan")]), max_size=6))
def test_infinities_and_nan_do_as_in_any_sum(values: list[float]) -> None:
    """As adding one by one gives, which is exact for these."""
    expected = [sum(values[:end]) for end in range(len(values) + 1)]
    found = sum_floats(np.array(values, np.float64), prefixes(len(values)))
    assert str(found.tolist()) == str([float(value) for value in expected])


@settings(deadline=None)
@pytest.mark.parametrize("kind", [np.int64, np.uint64])
@given(data=st.data())
def test_whole_numbers_are_summed_exactly(
    kind: type[np.int64] | type[np.uint64], data: st.DataObject
) -> None:
    """With a word about the sums that 64 bits cannot hold, and a float for them all the same."""
    limits = np.iinfo(kind)
    number = st.integers(int(limits.min), int(limits.max)) | st.integers(0, 3)
    values = data.draw(st.lists(number, max_size=10))
    sums = [sum(values[:end]) for end in range(len(values) + 1)]
    typed = np.array(values, np.int64) if kind is np.int64 else np.array(values, np.uint64)
    exact, rounded, lost = sum_integers(typed, prefixes(len(values)))
    assert rounded.tolist() == [float(total) for total in sums]
    assert lost.tolist() == [not -(2**63) <= total < 2**63 for total in sums]
    assert exact[~lost].tolist() == [total for total in sums if -(2**63) <= total < 2**63]
