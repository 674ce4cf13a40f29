"""Are the questions that a model is asked still like the data it has learned from?

Two answers that are easily confused are kept apart. *What moved* is a fact and is always told. *Worth an alarm* is
the user's policy: temperature moves with every season, a monitor that says so is right, and nothing follows from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from everloop.data.profile import Profile
from everloop.data.shift import ColumnShift, Margins, Measure, Shift, compare_profiles
from everloop.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Which moves are worth an alarm: in these columns (all, if empty), not in those, and at least so large."""

    columns: Sequence[str] = ()
    ignore: Sequence[str] = ()
    effect: float = 0.1
    """Share of the rows that would have to change to undo the move: the distance of two distributions, the shares
    of categories that changed hands, the rise of missing values."""
    deviations: float = 0.5
    """The same for a mean, which moves in standard deviations of the training data."""

    def rings_for(self, shift: ColumnShift) -> bool:
        """Is this move one of them?"""
        if shift.column in self.ignore or (self.columns and shift.column not in self.columns):
            return False
        return shift.drifted and shift.effect >= self.least(shift)

    def least(self, shift: ColumnShift) -> float:
        """The smallest effect that counts for this kind of move."""
        return self.deviations if shift.test is Measure.MEAN else self.effect


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """What one look found; JSON as it stands."""

    alarm: bool
    because: str
    """One sentence: the worst moves that ring, or what moved and rings nothing, or that nothing moved."""
    columns: tuple[str, ...]
    """Columns that ring the alarm, the largest move first."""
    moved: tuple[str, ...]
    """Columns that moved at all."""
    shift: Shift
    """Every question and its answer."""


def drift(
    reference: Profile,
    live: Profile,
    *,
    alarm: Alarm | None = None,
    fdr: float = 0.05,
    margins: Margins | None = None,
) -> DriftReport:
    """Hold live inputs against the training data; `live` was taken with `edges=reference.edges()`.

    While nothing moves, at most a share `fdr` of looks tells of a move, over all columns together, and fewer
    ring (see `compare_profiles`). It is a rate per look: a daily look is wrong about 18 times a year, a monthly one
    less than once. A column that the alarm names and that cannot be compared rings: an alarm that looks away is none.

    >>> import pyarrow as pa
    >>> from everloop.data.profile import profile
    >>> trained = profile(pa.table({"temp": [float(i % 40) for i in range(4000)], "hour": [i % 24 for i in range(4000)]}))
    >>> asked = pa.table({"temp": [20.0 + i % 40 for i in range(400)], "hour": [i % 24 for i in range(400)]})
    >>> live = profile(asked, edges=trained.edges())
    >>> drift(trained, live).because
    'temp: distributions 0.50 apart (0 the same, 1 no overlap), mean 19.5 → 39.5'
    >>> quiet = drift(trained, live, alarm=Alarm(ignore=["temp"]))
    >>> quiet.alarm, quiet.moved, quiet.because
    (False, ('temp',), 'no alarm; moved: temp')
    """
    alarm = alarm or Alarm()
    _check(alarm, reference)
    shift = compare_profiles(reference, live, fdr=fdr, margins=margins)
    ringing = sorted(filter(alarm.rings_for, shift.drifted), key=lambda s: -s.effect / alarm.least(s))
    unknown = [name for name in shift.unmatched if name in alarm.columns and name not in alarm.ignore]
    columns = tuple(dict.fromkeys((*unknown, *(move.column for move in ringing))))
    return DriftReport(
        alarm=bool(columns),
        because=_because(unknown, ringing, shift),
        columns=columns,
        moved=shift.drifted_columns,
        shift=shift,
    )


def _check(alarm: Alarm, reference: Profile) -> None:
    unknown = [name for name in alarm.columns if name not in reference.columns]
    if unknown:
        raise InvalidInput(
            f"The alarm is set on {', '.join(unknown)}, which the training data does not have.",
            next_step=f"use some of {', '.join(reference.columns)}.",
        )


def _because(unknown: Sequence[str], ringing: Sequence[ColumnShift], shift: Shift) -> str:
    if unknown or ringing:
        worst = {
            move.column: move.message for move in reversed(ringing)
        }  # of several per column the largest stays
        texts = [worst[name] for name in dict.fromkeys(move.column for move in ringing)]
        texts = [*(f"{name}: cannot be compared with the training data" for name in unknown), *texts]
        rest = len(texts) - 3
        return "; ".join(texts[:3]) + (f"; and {rest} more" if rest > 0 else "")
    moved = shift.drifted_columns
    return f"no alarm; moved: {', '.join(moved)}" if moved else "nothing moved"
