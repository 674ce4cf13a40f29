"""What a user declares of a dataset: its name, its keys, its times, and what is expected of every batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from everloop.errors import InvalidInput
from everloop.records.names import as_names, check_name
from everloop.records.placeholders import Placeholder

if TYPE_CHECKING:
    import pyarrow as pa


Number: TypeAlias = int | float
Level: TypeAlias = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Values lie in [low, high]; None leaves that end open; nulls are none of its business, NaN breaks it."""

    column: str
    low: Number | None
    high: Number | None
    tolerated: float | None = None
    """Share of rows that may break it; None takes the gate's own."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it looks at."""
        return (self.column,)

    @property
    def text(self) -> str:
        """The promise in words."""
        if self.low is None:
            return f"at most {self.high}"
        return f"at least {self.low}" if self.high is None else f"between {self.low} and {self.high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """Values come from a fixed list; nulls are none of its business."""

    column: str
    values: tuple[Level, ...]
    tolerated: float | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it looks at."""
        return (self.column,)

    @property
    def text(self) -> str:
        """The promise in words."""
        shown = ", ".join(map(str, self.values[:8]))
        return f"one of {shown}" + (f" and {len(self.values) - 8} more" if len(self.values) > 8 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNull:
    """No value is missing; NaN counts as missing."""

    column: str
    tolerated: float | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it looks at."""
        return (self.column,)

    @property
    def text(self) -> str:
        """The promise in words."""
        return "not null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """No two rows agree in all of these columns; a row with a null among them agrees with none."""

    columns: tuple[str, ...]
    tolerated: float | None = None

    @property
    def text(self) -> str:
        """The promise in words."""
        return "unique"


Expectation: TypeAlias = Between | OneOf | NotNull | Unique


def between(
    column: str, low: Number | None, high: Number | None, *, tolerated: float | None = None
) -> Between:
    """Expect every value of a column to lie in [low, high]; None leaves that end open.

    >>> between("temp", -60, 130).text
    'between -60 and 130'
    >>> between("seats", 1, None).text
    'at least 1'
    """
    if low is None and high is None:
        raise InvalidInput(f"between({column!r}) has neither a low nor a high end.", next_step="give one.")
    for end in (low, high):
        if isinstance(end, bool) or not (
            end is None or (isinstance(end, int | float) and math.isfinite(end))
        ):
            raise InvalidInput(
                f"between({column!r}): {end!r} is not a finite number.",
                next_step="give a number, or None to leave that end open.",
            )
    if low is not None and high is not None and low > high:
        raise InvalidInput(f"between({column!r}): {low} is above {high}.", next_step="swap the two.")
    return Between(column=_column(column), low=low, high=high, tolerated=_share(tolerated))


def one_of(column: str, *values: Level, tolerated: float | None = None) -> OneOf:
    """Expect every value of a column to come from this list.

    >>> one_of("origin", "EWR", "JFK", "LGA").text
    'one of EWR, JFK, LGA'
    """
    if not values:
        raise InvalidInput(
            f"one_of({column!r}) lists no value.", next_step='name them: one_of("origin", "EWR").'
        )
    for value in values:
        if not isinstance(value, bool | int | float | str) or value != value:
            raise InvalidInput(
                f"one_of({column!r}): {value!r} is neither a number, a text nor a bool.",
                next_step="list texts, numbers or bools.",
            )
    if len({_sort_of(value) for value in values}) > 1:
        raise InvalidInput(f"one_of({column!r}) mixes texts, numbers and bools.", next_step="list one kind.")
    return OneOf(column=_column(column), values=values, tolerated=_share(tolerated))


def not_null(column: str, *, tolerated: float | None = None) -> NotNull:
    """Expect no missing value in a column.

    >>> not_null("carrier").columns
    ('carrier',)
    """
    return NotNull(column=_column(column), tolerated=_share(tolerated))


def unique(*columns: str, tolerated: float | None = None) -> Unique:
    """Expect no two rows of a batch to agree in all of these columns.

    >>> unique("origin", "time_hour").columns
    ('origin', 'time_hour')
    """
    if not columns:
        raise InvalidInput("unique() names no column.", next_step='name the key: unique("id").')
    return Unique(columns=tuple(_column(column) for column in columns), tolerated=_share(tolerated))


@dataclass(frozen=True, slots=True, init=False)
class Dataset:
    """A named table that grows by batches, and what each batch must look like.

    >>> flights = Dataset("flights", keys=["id"], event_time="departs_at", expect=[not_null("carrier")])
    >>> flights.keys, flights.declared()
    (('id',), ('id', 'departs_at', 'carrier'))
    """

    name: str
    keys: tuple[str, ...]
    """Columns that name one row; may be empty."""
    event_time: str | None
    """When the fact happened; None for a plain lookup table."""
    created_time: str | None
    """When the fact became known, where that is later than the event."""
    expect: tuple[Expectation, ...]
    files: str
    """Where batches appear as files, as a pattern below the project's folder: `data/flights-*.parquet`."""

    def __init__(
        self,
        name: str,
        *,
        keys: str | Sequence[str],
        event_time: str | None,
        created_time: str | None = None,
        expect: Sequence[Expectation] = (),
        files: str = "",
    ) -> None:
        # Written out because the name alone is positional, and a lone string is one key and not its letters.
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "keys", as_names(keys))
        object.__setattr__(self, "event_time", event_time)
        object.__setattr__(self, "created_time", created_time)
        object.__setattr__(self, "expect", tuple(expect))
        object.__setattr__(self, "files", files)
        self._check()

    @property
    def rows(self) -> pa.Table:
        """What a pipeline hands to a step: the rows of the version that the run reads, as a table.

        Outside of a run there is no such version, and this only names what it will be.

        >>> Dataset("flights", keys="id", event_time=None).rows
        the rows of dataset flights
        """
        return cast("pa.Table", DatasetRows(self))

    def declared(self) -> tuple[str, ...]:
        """Every column that this declaration names, once each."""
        times = (time for time in (self.event_time, self.created_time) if time is not None)
        expected = (column for expectation in self.expect for column in expectation.columns)
        return tuple(dict.fromkeys((*self.keys, *times, *expected)))

    def _check(self) -> None:
        check_name(self.name, "a dataset")
        for column in (*self.keys, self.event_time, self.created_time):
            if column is not None:
                _column(column)
        if self.files.startswith("/") or ".." in self.files.split("/"):
            raise InvalidInput(
                f"Dataset {self.name!r}: files={self.files!r} leaves the project's folder.",
                next_step="give a pattern below it, like data/*.csv.",
            )
        if len(set(self.keys)) < len(self.keys):
            raise InvalidInput(
                f"Dataset {self.name!r} names a key twice: {', '.join(self.keys)}.", next_step="name it once."
            )
        if self.created_time is not None and self.event_time is None:
            raise InvalidInput(
                f"Dataset {self.name!r} has a created time and no event time.",
                next_step="name the event time.",
            )
        for expectation in self.expect:
            if not isinstance(expectation, Expectation):
                raise InvalidInput(
                    f"Dataset {self.name!r} expects {expectation!r}, which is no expectation.",
                    next_step="make it with a function for it, such as between or not_null.",
                )


@dataclass(frozen=True, slots=True, repr=False)
class DatasetRows(Placeholder):
    """The rows of a dataset at the version that a run reads."""

    dataset: Dataset

    def __repr__(self) -> str:
        return f"the rows of dataset {self.dataset.name}"


def _column(name: str) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{name!r} is no column name.", next_step="give the column's name as text.")
    return name


def _sort_of(value: Level) -> str:
    return "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def _share(tolerated: float | None) -> float | None:
    if tolerated is not None and not 0 <= tolerated <= 1:
        raise InvalidInput(
            f"tolerated={tolerated} is no share.", next_step="use 0 up to 1; 0.01 is one row in 100."
        )
    return tolerated
