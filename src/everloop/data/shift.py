"""Have the values moved? The one two-sample comparison that the data gate and the drift monitor share.

Every column is asked up to three questions, each with an effect size *and* a p-value:

- numbers: are the distributions apart (Kolmogorov-Smirnov at the histogram's edges), and is the mean (Welch)?
- categories: have the shares moved (chi² on a 2×k table with sparse levels pooled; total variation)?
- all: has the share of missing values moved (two proportions)?

A shift has *drifted* when its p-value holds after Benjamini-Hochberg over all questions and its effect reaches a
margin that was chosen beforehand. The first keeps luck out, the second keeps out what is real and does not matter.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrc, chdtrc, kolmogorov, ndtr

from everloop.data.profile import GROUPS, ColumnProfile, Kind, Profile, groups_of, mean_of
from everloop.data.wording import number, percent
from everloop.errors import InvalidInput

FEWEST = 30
"""Below this many values on either side the approximations behind mean and distribution do not hold."""

_SPARSE = 5.0
_LARGEST_EFFECT = 1e9

_Table: TypeAlias = npt.NDArray[np.float64]


class Measure(StrEnum):
    """What is compared of a column."""

    VALUES = "values"
    MEAN = "mean"
    LEVELS = "levels"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """The smallest effect of each kind that counts; raise one when its drift is real and harmless to you."""

    values: float = 0.03
    """Largest difference between the two cumulative distributions, 0 to 1."""
    mean: float = 0.1
    """Difference of the means in standard deviations of the reference."""
    levels: float = 0.03
    """Share of rows that would have to change level, beyond what sampling alone does."""
    missing: float = 0.01
    """Difference between the shares of missing values."""

    def of(self, measure: Measure) -> float:
        """The margin of one measure."""
        return {
            Measure.VALUES: self.values,
            Measure.MEAN: self.mean,
            Measure.LEVELS: self.levels,
            Measure.MISSING: self.missing,
        }[measure]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnShift:
    """One question about one column, and its answer."""

    column: str
    test: Measure
    effect: float
    p_value: float
    adjusted: float
    """The p-value after correction for the number of questions."""
    drifted: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Every answer, drifted or not."""

    columns: tuple[ColumnShift, ...]
    unmatched: tuple[str, ...] = ()
    """Columns that only one side has, or that are of different kinds; they were asked nothing."""

    @property
    def drifted(self) -> tuple[ColumnShift, ...]:
        """The answers that say yes."""
        return tuple(shift for shift in self.columns if shift.drifted)

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """The names of the columns with a yes among their answers, once each."""
        return tuple(dict.fromkeys(shift.column for shift in self.drifted))


def compare_profiles(
    reference: Profile,
    current: Profile,
    *,
    fdr: float = 0.05,
    margins: Margins | None = None,
    ignore: Collection[str] = (),
) -> Shift:
    """Compare two profiles; `current` must have been taken with `edges=reference.edges()`.

    When nothing has moved and rows are independent, at most a share `fdr` of such comparisons says that
    *anything* drifted, whatever the number of columns, and fewer with the margins. That is per comparison:
    look every day and false alarms add up over the days. Rows that resemble their neighbours in time, such as
    hourly weather, hold less than they seem to: there the margins are what keeps the peace.

    >>> import pyarrow as pa
    >>> from everloop.data.profile import profile
    >>> old = profile(pa.table({"origin": ["JFK"] * 500 + ["LGA"] * 500}))
    >>> new = profile(pa.table({"origin": ["JFK"] * 700 + ["LGA"] * 300}))
    >>> for shift in compare_profiles(old, new).drifted: print(shift.message)
    origin: shares moved by 20 %, most in JFK 50 % → 70 %
    """
    margins = margins or Margins()
    shared = [name for name in reference.columns if name in current.columns and name not in ignore]
    alike = [name for name in shared if _alike(reference.columns[name], current.columns[name])]
    asked = [
        answer for name in alike for answer in _ask(name, reference.columns[name], current.columns[name])
    ]
    adjusted = benjamini_hochberg([shift.p_value for shift in asked])
    return Shift(
        columns=tuple(
            replace(shift, adjusted=p, drifted=p <= fdr and shift.effect >= margins.of(shift.test))
            for shift, p in zip(asked, adjusted, strict=True)
        ),
        unmatched=tuple(
            name
            for name in dict.fromkeys((*reference.columns, *current.columns))
            if name not in alike and name not in ignore
        ),
    )


def benjamini_hochberg(p_values: list[float]) -> list[float]:
    """P-values adjusted so that those up to q hold at a false discovery rate of q.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    count, smallest = len(p_values), 1.0
    adjusted = [1.0] * count
    for rank, place in sorted(enumerate(sorted(range(count), key=p_values.__getitem__), 1), reverse=True):
        smallest = min(smallest, p_values[place] * count / rank)
        adjusted[place] = smallest
    return adjusted


def _alike(a: ColumnProfile, b: ColumnProfile) -> bool:
    return a.kind is b.kind or not a.count or not b.count


def _ask(name: str, reference: ColumnProfile, current: ColumnProfile) -> Iterator[ColumnShift]:
    """All questions that fit the column's kind and for which there are rows enough."""
    if reference.rows and current.rows:
        yield _missing(name, reference, current)
    if reference.kind is not current.kind or min(reference.count, current.count) < FEWEST:
        return
    if reference.kind is Kind.NUMBER:
        yield _values(name, reference, current)
        yield _mean(name, reference, current)
    if reference.kind is Kind.CATEGORY:
        yield _levels(name, reference, current)


def _answer(column: str, test: Measure, effect: float, p_value: float, message: str) -> ColumnShift:
    p_value = min(max(p_value, 0.0), 1.0)
    return ColumnShift(
        column=column,
        test=test,
        effect=min(effect, _LARGEST_EFFECT),
        p_value=p_value,
        adjusted=p_value,
        drifted=False,
        message=f"{column}: {message}",
    )


# ---------------------------------------------------------------- numbers


def _values(name: str, reference: ColumnProfile, current: ColumnProfile) -> ColumnShift:
    distance = ks_distance(name, reference, current)
    rows = reference.count * current.count / (reference.count + current.count)
    # Stephens 1970: the correction that makes the limiting distribution serve small samples too.
    # Looking only at the edges, and ties, can but lower the distance: the p-value errs on the quiet side.
    p_value = float(kolmogorov((math.sqrt(rows) + 0.12 + 0.11 / math.sqrt(rows)) * distance))
    means = f"mean {number(mean_of(reference))} → {number(mean_of(current))}"
    words = f"distributions {distance:.2f} apart (0 the same, 1 no overlap), {means}"
    return _answer(name, Measure.VALUES, distance, p_value, words)


def ks_distance(name: str, a: ColumnProfile, b: ColumnProfile) -> float:
    """Largest difference of the two cumulative distributions at the common edges."""
    if a.edges != b.edges:
        raise InvalidInput(
            f"The histograms of {name} were taken on different edges.",
            next_step="take the later profile with edges=reference.edges().",
        )
    apart = np.cumsum(a.counts) / a.count - np.cumsum(b.counts) / b.count
    return float(np.abs(apart).max())


def _mean(name: str, reference: ColumnProfile, current: ColumnProfile) -> ColumnShift:
    moved = abs(mean_of(current) - mean_of(reference))
    effect = deviations(moved, reference.std)
    error = math.hypot(reference.std / math.sqrt(reference.count), current.std / math.sqrt(current.count))
    p_value = float(2 * ndtr(-deviations(moved, error)))
    means = f"mean {number(mean_of(reference))} → {number(mean_of(current))}"
    words = f"{number(effect)} reference deviations" if reference.std > 0 else "where it never varied"
    return _answer(name, Measure.MEAN, effect, p_value, f"{means}, {words}")


def deviations(moved: float, spread: float) -> float:
    """How many spreads something has moved; a very large number where nothing used to vary at all.

    >>> deviations(3.0, 1.5), deviations(0.0, 0.0), deviations(1.0, 0.0)
    (2.0, 0.0, 1000000000.0)
    """
    if moved == 0:
        return 0.0
    return min(moved / spread, _LARGEST_EFFECT) if spread > 0 else _LARGEST_EFFECT


# ---------------------------------------------------------------- categories


def _levels(name: str, reference: ColumnProfile, current: ColumnProfile) -> ColumnShift:
    levels, table = _pooled(reference, current)
    rows, totals = table.sum(axis=1), table.sum(axis=0)
    shares = table / rows[:, None]
    moved = shares[1] - shares[0]
    variation = 0.5 * float(np.abs(moved).sum())
    # Two samples of one distribution differ too: by this much on average, level by level.
    level = totals / totals.sum()
    by_chance = 0.5 * float(np.sqrt(2 / math.pi * level * (1 - level) * (1 / rows).sum()).sum())
    effect = math.sqrt(max(variation**2 - by_chance**2, 0.0))
    expected = np.outer(rows, totals) / totals.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    p_value = float(chdtrc(len(totals) - 1, statistic)) if len(totals) > 1 else 1.0
    most = int(np.abs(moved).round(12).argmax())  # of equals the first, whatever the last bit says
    words = f"most in {levels[most]} {percent(shares[0, most])} → {percent(shares[1, most])}"
    return _answer(name, Measure.LEVELS, effect, p_value, f"shares moved by {percent(variation)}, {words}")


def _pooled(reference: ColumnProfile, current: ColumnProfile) -> tuple[list[str], _Table]:
    """The 2×k table of counts; levels too rare for chi² share a cell."""
    names, table = _counted(reference, current)
    smaller = table.sum(axis=1).min() / table.sum()
    common = table.sum(axis=0) * smaller >= _SPARSE
    levels, rest = table[:, common], table[:, ~common].sum(axis=1)
    kept = [name for name, is_common in zip(names, common, strict=True) if is_common]
    if rest.sum() * smaller >= _SPARSE or not kept:
        return [*kept, "all others"], np.column_stack([levels, rest])
    levels[:, levels.sum(axis=0).argmin()] += rest  # too few for a cell of their own: they join the rarest
    return kept, levels


def _counted(reference: ColumnProfile, current: ColumnProfile) -> tuple[list[str], _Table]:
    sides = (reference, current)
    if reference.groups or current.groups:
        names = [f"one of {GROUPS} groups of values" for _ in range(GROUPS)]
        return names, np.array([groups_of(side) for side in sides], dtype=np.float64)
    names = list(dict.fromkeys((*reference.values, *current.values)))
    return names, np.array([[side.values.get(name, 0) for name in names] for side in sides], dtype=np.float64)


# ---------------------------------------------------------------- missing values


def _missing(name: str, reference: ColumnProfile, current: ColumnProfile) -> ColumnShift:
    before, now = reference.missing_rate, current.missing_rate
    p_value = two_proportions(reference.missing, reference.rows, current.missing, current.rows)
    return _answer(
        name,
        Measure.MISSING,
        abs(now - before),
        p_value,
        f"missing in {percent(before)} → {percent(now)} of rows",
    )


def two_proportions(hits_a: int, rows_a: int, hits_b: int, rows_b: int) -> float:
    """P-value that both samples have the same share of hits; 1 when all or none are hits.

    Where a cell of the table is sparse the z test claims too much. There the hits are split like coins that
    fall on each side in proportion to its rows, which errs on the quiet side.

    >>> round(two_proportions(500, 50_000, 15, 500), 5), two_proportions(0, 1_000, 1, 100) > 0.05
    (1e-05, True)
    """
    hits, rows = hits_a + hits_b, rows_a + rows_b
    share = hits / rows
    if hits in (0, rows):
        return 1.0
    if min(rows_a, rows_b) * min(share, 1 - share) >= _SPARSE:
        error = math.sqrt(share * (1 - share) * (1 / rows_a + 1 / rows_b))
        return float(2 * ndtr(-abs(hits_b / rows_b - hits_a / rows_a) / error))
    if share > 0.5:  # count whichever is rare
        return two_proportions(rows_a - hits_a, rows_a, rows_b - hits_b, rows_b)
    part = rows_b / rows
    at_least = 1.0 if hits_b == 0 else float(bdtrc(hits_b - 1, hits, part))
    return min(1.0, 2 * min(float(bdtr(hits_b, hits, part)), at_least))
