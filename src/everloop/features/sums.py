"""Sums of numbers over windows that are exact, so that a value depends on the rows of its window and on nothing else.

A window's sum is the difference of two running sums. With rounded running sums it would depend on every row before
the window, and one NaN would spoil all that follow. Here a float is cut into digits of 32 bits, running sums of digits
are whole numbers, and only the difference is rounded, once: the result is that of `math.fsum`, bit for bit. There is
room for the digits of 2**30 rows.

Whoever touches it may change features in their last bits, and with them every model and every cached step after them:
`tests/features/test_sums.py` holds each bit against exact fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from everloop.features.arrays import Bools, Floats, Ints, Words

Summed: TypeAlias = Callable[[Ints], Ints]
"""Takes a whole number for each row and gives, for each window, their sum over its rows, modulo 2**64."""

_BITS = 32
_MASK = (1 << _BITS) - 1
_SAFE = 2**62


def sum_floats(values: Floats, summed: Summed) -> Floats:
    """The correctly rounded sum of floats in each window; infinities and NaN count in their own windows only.

    >>> values = np.array([1e16, 1.0, -1e16, np.nan])
    >>> sum_floats(values, lambda numbers: np.array([numbers[:2].sum(), numbers[:3].sum(), numbers[2:].sum()])).tolist()
    [1e+16, 1.0, nan]
    """
    finite = np.isfinite(values)
    if finite.all():
        return _sum_finite(values, summed)
    sums = _sum_finite(np.where(finite, values, 0.0), summed)
    up, down, odd = (summed(found.astype(np.int64)) > 0 for found in _strange(values))
    sums[up] = np.inf
    sums[down] = -np.inf
    sums[odd | (up & down)] = np.nan
    return sums


def sum_integers(values: Ints | Words, summed: Summed) -> tuple[Ints, Floats, Bools]:
    """The sum of whole numbers in each window, the same rounded once to a float, and where 64 bits cannot hold it."""
    wrapped = summed(values.astype(np.int64))  # exact modulo 2**64, so right wherever the true sum fits
    if _largest(values) * max(len(values), 1) < _SAFE:
        return wrapped, wrapped.astype(np.float64), np.zeros(len(wrapped), np.bool_)
    digits = [
        (values & values.dtype.type(_MASK)).astype(np.int64),
        (values >> values.dtype.type(_BITS)).astype(np.int64),
    ]
    rounded = _rounded([summed(digit) for digit in digits], 0)
    return wrapped, rounded, wrapped.astype(np.float64) != rounded


def _strange(values: Floats) -> tuple[Bools, ...]:
    return values == np.inf, values == -np.inf, np.isnan(values)


def _largest(values: Ints | Words) -> int:
    return max(abs(int(values.max(initial=0))), abs(int(values.min(initial=0))))


def _sum_finite(values: Floats, summed: Summed) -> Floats:
    mantissas, exponents = np.frexp(values)
    whole = np.ldexp(np.abs(mantissas), 53).astype(np.uint64)
    exponents = np.where(whole == 0, 0, exponents - 53)
    if not whole.any():
        return np.zeros(len(summed(np.zeros(len(values), np.int64))))
    places, shifts = np.divmod(exponents, _BITS)
    signs = np.where(values < 0, -1, 1)
    digits = [signs * digit.astype(np.int64) for digit in _cut(whole, shifts.astype(np.uint64))]
    lowest, highest = int(places[whole > 0].min()), int(places[whole > 0].max()) + len(digits) - 1
    sums = [summed(_at(digits, places, place)) for place in range(lowest, highest + 1)]
    return _rounded(sums, lowest)


def _cut(whole: Words, shifts: Words) -> tuple[Words, Words, Words]:
    """The digits of 53-bit numbers shifted left by up to 31 bits, the lowest first."""
    low = (whole & np.uint64(_MASK)) << shifts
    high = ((whole >> np.uint64(_BITS)) << shifts) + (low >> np.uint64(_BITS))
    return low & np.uint64(_MASK), high & np.uint64(_MASK), high >> np.uint64(_BITS)


def _at(digits: Sequence[Ints], places: npt.NDArray[np.int32], place: int) -> Ints:
    """The digit that each number has at one place of the common scale."""
    found = np.zeros(len(places), np.int64)
    for offset, digit in enumerate(digits):
        here = places == place - offset
        found[here] = digit[here]
    return found


def _rounded(sums: Sequence[Ints], lowest: int) -> Floats:
    """Numbers from the sums of their digits, rounded to nearest once, ties to even."""
    negative = _carried(sums)[-1] < 0
    signs = np.where(negative, -1, 1)
    # Two zero digits below, so that a number whose only digit is the lowest has a head and a next digit too.
    zero = np.zeros_like(signs)
    digits = [zero, zero, *_carried([signs * digit for digit in sums])[:-1]]
    with np.errstate(over="ignore", under="ignore"):  # a sum beyond the largest float is infinite
        return np.where(negative, -1.0, 1.0) * _from_digits(digits, lowest - 2)


def _carried(sums: Sequence[Ints]) -> list[Ints]:
    """Digits within 32 bits, two more on top for what was carried, and a last one that is negative for a negative number."""
    carry = np.zeros_like(sums[0])
    digits = []
    for place in range(len(sums) + 2):
        value = carry + sums[place] if place < len(sums) else carry
        digits.append(value & _MASK)
        carry = value >> _BITS
    return [*digits, carry]


def _from_digits(digits: Sequence[Ints], lowest: int) -> Floats:
    """Floats from digits of numbers that are not negative."""
    full = np.uint64(1 << _BITS)
    rows = len(digits[0])
    head, place = (
        np.zeros(rows, np.uint64),
        np.zeros(rows, np.int64),
    )  # the two highest digits, and where they stand
    after, met = (
        np.zeros(rows, np.uint64),
        np.zeros(rows, np.bool_),
    )  # the digit below them, and whether it was met
    more = np.zeros(rows, np.bool_)  # whether any further digit is not zero
    for index in range(len(digits) - 1, -1, -1):
        digit = digits[index].astype(np.uint64)
        filled = head >= full
        more |= filled & met & (digit > 0)
        after = np.where(filled & ~met, digit, after)
        met |= filled
        head = np.where(filled, head, (head << np.uint64(_BITS)) | digit)
        place = np.where(filled, place, index)
    return _nearest(head, after, more, _BITS * (place + lowest))


def _nearest(head: Words, after: Words, more: Bools, exponent: Ints) -> Floats:
    """head * 2**exponent with what follows it, rounded once: a lost part that is not zero sets the last bit."""
    _, bits = np.frexp((head >> np.uint64(_BITS)).astype(np.float64))
    gap = (_BITS - np.clip(bits, 1, _BITS)).astype(np.uint64)
    rest = np.uint64(_BITS) - gap
    word = (head << gap) | (after >> rest)
    lost = more | ((after & ((np.uint64(1) << rest) - np.uint64(1))) > 0)
    return np.ldexp(
        (word | lost.astype(np.uint64)).astype(np.float64), (exponent - gap.astype(np.int64)).astype(np.intc)
    )
