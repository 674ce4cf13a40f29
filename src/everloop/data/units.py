"""Wrong units are the commonest implausible change: find the one that would explain a jump."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from everloop.data.profile import ColumnProfile, mean_of, span
from everloop.data.shift import deviations


@dataclass(frozen=True, slots=True)
class Unit:
    """What the new values may be in, and how they become what was expected: x × scale + offset."""

    name: str
    scale: float
    offset: float
    formula: str
    surprise: float = 0.0
    """How many spreads better it has to fit than a unit that is mixed up more often."""


UNITS = (
    Unit("Celsius", 1.8, 32.0, "x × 1.8 + 32"),
    Unit("Fahrenheit", 1 / 1.8, -32 / 1.8, "(x − 32) ÷ 1.8"),
    Unit("kelvin", 1.0, -273.15, "x − 273.15"),
    Unit("kelvin", 1.8, -459.67, "x × 1.8 − 459.67"),
    Unit("Celsius", 1.0, 273.15, "x + 273.15"),
    Unit("Fahrenheit", 1 / 1.8, 459.67 / 1.8, "(x + 459.67) ÷ 1.8"),
    Unit("shares of 1", 100.0, 0.0, "x × 100"),
    Unit("percent", 0.01, 0.0, "x ÷ 100"),
    Unit("tenths", 0.1, 0.0, "x ÷ 10"),
    Unit("tens", 10.0, 0.0, "x × 10"),
    Unit("thousandths", 0.001, 0.0, "x ÷ 1,000"),
    Unit("thousands", 1_000.0, 0.0, "x × 1,000"),
    Unit("millionths", 1e-6, 0.0, "x ÷ 1,000,000"),
    Unit("millions", 1e6, 0.0, "x × 1,000,000"),
    Unit("seconds or minutes", 1 / 60, 0.0, "x ÷ 60"),
    Unit("minutes or hours", 60.0, 0.0, "x × 60"),
    Unit("seconds", 1 / 3_600, 0.0, "x ÷ 3,600"),
    Unit("hours", 3_600.0, 0.0, "x × 3,600"),
    Unit("kilometres", 1 / 1.609344, 0.0, "x ÷ 1.609", 1.0),
    Unit("miles", 1.609344, 0.0, "x × 1.609", 1.0),
    Unit("metres", 1 / 0.3048, 0.0, "x ÷ 0.3048", 1.0),
    Unit("feet", 0.3048, 0.0, "x × 0.3048", 1.0),
    Unit("kilograms", 1 / 0.45359237, 0.0, "x ÷ 0.4536", 1.0),
    Unit("pounds", 0.45359237, 0.0, "x × 0.4536", 1.0),
    Unit("metres per second", 2.236936, 0.0, "x × 2.237", 1.0),
    Unit("metres per second", 3.6, 0.0, "x × 3.6", 1.0),
)


def explain(before: ColumnProfile, now: ColumnProfile, spread: float) -> Unit | None:
    """The unit that brings a numeric column back to where it was; None when no known one does.

    It has to take away at least half of the jump, leave at most two spreads, and give about the old scatter.

    >>> import pyarrow as pa
    >>> from everloop.data.profile import profile
    >>> was = profile(pa.table({"temp": [70.0, 74.0, 78.0, 82.0, 86.0, 90.0]})).columns["temp"]
    >>> now = profile(pa.table({"temp": [21.0, 23.0, 25.0, 27.0, 29.0, 33.0]})).columns["temp"]
    >>> unit = explain(was, now, was.std)
    >>> unit.name, unit.formula
    ('Celsius', 'x × 1.8 + 32')
    """
    jump = deviations(abs(mean_of(now) - mean_of(before)), spread)
    misfits = {unit: misfit for unit, misfit in _misfits(before, now, spread, jump)}
    return min(misfits, key=misfits.__getitem__, default=None)


def _misfits(
    before: ColumnProfile, now: ColumnProfile, spread: float, jump: float
) -> Iterator[tuple[Unit, float]]:
    for unit in UNITS:
        left = deviations(abs(mean_of(now) * unit.scale + unit.offset - mean_of(before)), spread)
        scatter = _octaves(now.std * unit.scale, before.std)
        if left <= min(2.0, jump / 2) and scatter <= 1.0:
            yield unit, unit.surprise + math.hypot(left, scatter, _ends_misfit(before, now, unit, spread))


def _octaves(a: float, b: float) -> float:
    """How often one would have to be doubled to give the other."""
    if a <= 0 or b <= 0:
        return 0.0 if a == b else math.inf
    return abs(math.log2(a / b))


def _ends_misfit(before: ColumnProfile, now: ColumnProfile, unit: Unit, spread: float) -> float:
    """The smallest and the largest value tell units apart that the mean confuses: zero is not freezing."""
    ends = zip(span(before), span(now), strict=True)
    return math.fsum(deviations(abs(new * unit.scale + unit.offset - old), spread) for old, new in ends) / 2
