"""Aggregates over a window of time: what was known at a moment of the rows that happened shortly before it.

A row counts from the moment it is known until it is as old as the window is long. So the sum over a window is the sum
over all rows that have come in by then, less the sum over all rows that have dropped out: two places on two tracks,
and the first is the same for every window of a view. A row that becomes known only when it is too old never counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np

from everloop.errors import InvalidInput
from everloop.features.arrays import Bools, Floats, Ints, Numbers, Words, before
from everloop.features.sums import sum_floats, sum_integers
from everloop.features.timeline import Timeline, Track
from everloop.features.views import Function


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Numbers, and where there is one; elsewhere they mean nothing."""

    numbers: Numbers
    there: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """For each question the rows that count: those that have come in, less those that have dropped out."""

    comes: Track
    goes: Track
    come: Ints
    gone: Ints
    counts: Bools | None
    """Which rows ever count; None when all do."""

    @classmethod
    def of(cls, timeline: Timeline, goes: Track, come: Ints, gone: Ints, span: int) -> Window:
        """Rows that happened less than `span` ago, between the places that questions reached on both tracks."""
        counts = None
        if timeline.known is not timeline.events:
            counts = timeline.events > before(timeline.known, span)
        return cls(comes=timeline.by_known, goes=goes, come=come, gone=gone, counts=counts)

    def sum(self, values: Ints) -> Ints:
        """Whole numbers summed over each window, modulo 2**64."""
        counted = values if self.counts is None else np.where(self.counts, values, 0)
        came = _running(counted, self.comes)
        went = came if self.goes is self.comes else _running(counted, self.goes)
        return came[self.come] - went[self.gone]

    def evaluate(self, column: Values, functions: Iterable[Function], where: str) -> dict[Function, Values]:
        """What each function gives in each window; a null value counts in none of them."""
        found: dict[Function, Values] = {}
        counted = self.sum(column.there.astype(np.int64))
        some = counted > 0
        exact, rounded = self._sums(column.numbers, {*functions} - {Function.COUNT}, where)
        for function in functions:
            if function is Function.COUNT:
                found[function] = Values(numbers=counted, there=np.ones(len(counted), np.bool_))
            elif function is Function.SUM:
                found[function] = Values(numbers=exact, there=some)
            else:
                found[function] = Values(numbers=rounded / np.maximum(counted, 1), there=some)
        return found

    def _sums(self, numbers: Numbers, functions: set[Function], where: str) -> tuple[Numbers, Floats]:
        """The sum as it is told and the same as a float, which a mean is made from."""
        if not functions:
            return np.zeros(0), np.zeros(0)
        if numbers.dtype == np.float64:
            sums = sum_floats(numbers.astype(np.float64, copy=False), self.sum)
            return sums, sums
        exact, rounded, lost = sum_integers(cast("Ints | Words", numbers), self.sum)
        if Function.SUM in functions and lost.any():
            raise InvalidInput(
                f"{where}: a sum does not fit in 64 bits.", next_step="cast the column to double."
            )
        return exact, rounded


def _running(values: Ints, track: Track) -> Ints:
    """Sums of the values of the first 0, 1, 2, … rows of a track; they wrap around, and so do their differences."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values[track.rows], out=sums[1:])
    return sums
