"""What a user declares of features: views over a dataset, and the service that names what one model uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from everloop.errors import InvalidInput
from everloop.records.datasets import Dataset
from everloop.records.json import Json
from everloop.records.names import as_names, check_name
from everloop.records.placeholders import Placeholder

if TYPE_CHECKING:
    from everloop.features.history import History

_NO_TIME = timedelta(0)

Definition: TypeAlias = dict[str, Json]


class Function(StrEnum):
    """What an aggregate does with the rows of its window."""

    MEAN = "mean"
    SUM = "sum"
    COUNT = "count"
    SHARE = "share"


@dataclass(frozen=True, slots=True, init=False)
class Aggregate:
    """One number over the rows that became known before a moment and happened in the time `over` before it.

    `mean` and `sum` of a number (or of true as 1 and false as 0) and the `share` of true are null over no values, as in
    SQL; `count` counts the values that are not null, without a column the rows, and is 0 when there is none.

    >>> Aggregate("delay", "mean", over=timedelta(hours=6)).label
    'delay_mean_6h'
    >>> Aggregate(None, "count", over=timedelta(days=7)).label
    'count_7d'
    >>> Aggregate("late", "share", over=timedelta(hours=6), name="recently_late").label
    'recently_late'
    """

    column: str | None
    """None counts rows, whatever is in them."""
    function: Function
    over: timedelta
    name: str | None
    """Stands in for column, function and span in the feature's name."""

    def __init__(
        self,
        column: str | None,
        function: Literal["mean", "sum", "count", "share"] | Function,
        *,
        over: timedelta,
        name: str | None = None,
    ) -> None:
        # Written out so that a function is given as a word and kept as one of a few.
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "function", _function(function))
        object.__setattr__(self, "over", over)
        object.__setattr__(self, "name", name)
        self._check()

    @property
    def label(self) -> str:
        """The feature's name without its view: `late_share_6h`."""
        words = (self.column, self.function, span_label(self.over))
        return self.name if self.name is not None else "_".join(word for word in words if word is not None)

    def definition(self) -> Definition:
        """What it computes, as JSON."""
        return {"function": str(self.function), "column": self.column, "over_seconds": _seconds(self.over)}

    def _check(self) -> None:
        where = f'Aggregate({self.column!r}, "{self.function}")'
        if self.column is not None:
            _column(self.column, where)
        elif self.function is not Function.COUNT:
            raise InvalidInput(
                f"{where}: a {self.function} is one of a column.",
                next_step='name it; only Aggregate(None, "count", …) does without, and counts rows.',
            )
        if not isinstance(self.over, timedelta) or self.over <= _NO_TIME:
            raise InvalidInput(
                f"{where}: over={self.over!r} is no window.", next_step="give a timedelta above zero."
            )
        if self.name is not None:
            check_name(self.name, "a feature")


@dataclass(frozen=True, slots=True, init=False)
class FeatureView:
    """Features of one entity from one dataset: the newest row's columns, and aggregates over recent rows.

    A row is seen from the moment it is known: the later of its event time and its created time, where a
    created time is named. Features are called `<view>_<column>` and `<view>_<column>_<function>_<span>`.

    >>> carrier = FeatureView(
    ...     "carrier",
    ...     source="flights",
    ...     join_key="carrier",
    ...     event_time="landed_at",
    ...     aggregates=[
    ...         Aggregate("late", "share", over=timedelta(hours=6)),
    ...         Aggregate(None, "count", over=timedelta(hours=24)),
    ...     ],
    ... )
    >>> carrier.features
    ('carrier_late_share_6h', 'carrier_count_24h')
    """

    name: str
    source: str
    """Name of the dataset that holds the rows."""
    join_key: tuple[str, ...]
    """Columns that name the entity, called the same in the dataset and in the rows that ask."""
    event_time: str | None
    """When a row's fact happened; None for a plain lookup with one row for each key."""
    created_time: str | None
    """When a row became known, where that can be later than the event."""
    columns: tuple[str, ...]
    """Taken from the row with the latest event among those known."""
    aggregates: tuple[Aggregate, ...]
    ttl: timedelta | None
    """How old the row behind `columns` may be, this age included; aggregates are bounded by their own window."""
    dataset: Dataset | None = field(compare=False, repr=False)
    """The declaration of its source, where that was given and not only its name."""

    def __init__(
        self,
        name: str,
        *,
        source: str | Dataset,
        join_key: str | Sequence[str],
        event_time: str | None,
        created_time: str | None = None,
        columns: Sequence[str] = (),
        aggregates: Sequence[Aggregate] = (),
        ttl: timedelta | None = None,
    ) -> None:
        # Written out because the name alone is positional, and a lone string is one name and not its letters.
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "source", source.name if isinstance(source, Dataset) else source)
        object.__setattr__(self, "join_key", as_names(join_key))
        object.__setattr__(self, "event_time", event_time)
        object.__setattr__(self, "created_time", created_time)
        object.__setattr__(self, "columns", as_names(columns))
        object.__setattr__(self, "aggregates", tuple(aggregates))
        object.__setattr__(self, "ttl", ttl)
        object.__setattr__(self, "dataset", source if isinstance(source, Dataset) else None)
        self._check_names()
        self._check_times()
        self._check_source(source)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features, in order."""
        labels = (*self.columns, *(aggregate.label for aggregate in self.aggregates))
        return tuple(f"{self.name}_{label}" for label in labels)

    def reads(self) -> tuple[str, ...]:
        """Every column of the source that it needs, once each."""
        times = (time for time in (self.event_time, self.created_time) if time is not None)
        summed = (aggregate.column for aggregate in self.aggregates if aggregate.column is not None)
        return tuple(dict.fromkeys((*self.join_key, *times, *self.columns, *summed)))

    def definition(self) -> Definition:
        """Everything that decides its values, as JSON; the same view gives the same text on every machine."""
        aggregates = zip(self.aggregates, self.features[len(self.columns) :], strict=True)
        return {
            "name": self.name,
            "source": self.source,
            "join_key": list(self.join_key),
            "event_time": self.event_time,
            "created_time": self.created_time,
            "columns": list(self.columns),
            "aggregates": [{"feature": name} | aggregate.definition() for aggregate, name in aggregates],
            "ttl_seconds": None if self.ttl is None else _seconds(self.ttl),
        }

    def _check_names(self) -> None:
        check_name(self.name, "a feature view")
        check_name(self.source, "a dataset")
        if not self.join_key:
            raise InvalidInput(f"View {self.name!r} has no join key.", next_step="name the entity's column.")
        for column in (*self.join_key, *self.columns):
            _column(column, f"View {self.name!r}")
        for aggregate in self.aggregates:
            if not isinstance(aggregate, Aggregate):
                raise InvalidInput(
                    f"View {self.name!r}: {aggregate!r} is no aggregate.",
                    next_step='write one like Aggregate("delay", "mean", over=timedelta(hours=3)).',
                )
        if not self.features:
            raise InvalidInput(f"View {self.name!r} has no feature.", next_step="give columns or aggregates.")
        _once(self.join_key, f"View {self.name!r} names the join key")
        _once(self.features, f"View {self.name!r} makes the feature")

    def _check_times(self) -> None:
        for time in (self.event_time, self.created_time):
            if time is not None:
                _column(time, f"View {self.name!r}")
        if self.event_time is None and (self.created_time, self.ttl, self.aggregates) != (None, None, ()):
            raise InvalidInput(
                f"View {self.name!r} has no event time, which created_time, ttl and aggregates need.",
                next_step="name the event time, or leave the others out for a plain lookup.",
            )
        if self.ttl is None:
            return
        if not isinstance(self.ttl, timedelta) or self.ttl < _NO_TIME:
            raise InvalidInput(
                f"View {self.name!r}: ttl={self.ttl!r} is no age.", next_step="give a timedelta."
            )
        if not self.columns:
            raise InvalidInput(
                f"View {self.name!r} has a ttl and no columns that it could bound.",
                next_step="leave it out: an aggregate looks no further back than its own window.",
            )

    def _check_source(self, source: str | Dataset) -> None:
        """Refuse to use rows before they were known only because a line was forgotten."""
        if not isinstance(source, Dataset) or source.created_time is None or self.created_time is not None:
            return
        if self.event_time is not None and self.event_time == source.event_time:
            raise InvalidInput(
                f"View {self.name!r} would see rows of {source.name!r} before they were known.",
                next_step=f'say created_time="{source.created_time}".',
            )


@dataclass(frozen=True, slots=True, init=False)
class FeatureService:
    """The features that one model uses: some views, in order.

    >>> planes = FeatureView(
    ...     "plane", source="planes", join_key="tailnum", event_time=None, columns=["seats", "built"]
    ... )
    >>> FeatureService("late", [planes]).features
    ('plane_seats', 'plane_built')
    """

    name: str
    views: tuple[FeatureView, ...]

    def __init__(self, name: str, views: Sequence[FeatureView]) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "views", (views,) if isinstance(views, FeatureView) else tuple(views))
        self._check()

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features, in the order in which they are joined."""
        return tuple(feature for view in self.views for feature in view.features)

    @property
    def history(self) -> History:
        """What a pipeline hands to a step: the features of every moment, as far as the run's versions reach.

        >>> planes = FeatureView("plane", source="planes", join_key="id", event_time=None, columns=["seats"])
        >>> FeatureService("late", [planes]).history
        the history of feature service late
        """
        return cast("History", ServiceHistory(self))

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the datasets that it reads, once each."""
        return tuple(dict.fromkeys(view.source for view in self.views))

    def definition(self) -> Definition:
        """Everything that decides its values, as JSON; record its digest beside the model that it fed."""
        return {"name": self.name, "views": [view.definition() for view in self.views]}

    def _check(self) -> None:
        check_name(self.name, "a feature service")
        for view in self.views:
            if not isinstance(view, FeatureView):
                raise InvalidInput(
                    f"Service {self.name!r}: {view!r} is no feature view.",
                    next_step="make each with FeatureView(…).",
                )
        if not self.views:
            raise InvalidInput(f"Service {self.name!r} has no view.", next_step="name at least one.")
        _once([view.name for view in self.views], f"Service {self.name!r} names the view")
        _once(self.features, f"Service {self.name!r} makes the feature")


@dataclass(frozen=True, slots=True, repr=False)
class ServiceHistory(Placeholder):
    """The history of a feature service over the versions of its datasets that a run reads."""

    service: FeatureService

    def __repr__(self) -> str:
        return f"the history of feature service {self.service.name}"


def duplicates(service: FeatureService) -> tuple[str, ...]:
    """One sentence for each view that computes nothing but what an earlier view computes under another name.

    >>> views = [
    ...     FeatureView(name, source="planes", join_key="tailnum", event_time=None, columns=["seats"])
    ...     for name in ("plane", "aircraft")
    ... ]
    >>> duplicates(FeatureService("late", views))
    ("View 'aircraft' repeats view 'plane'.",)
    """
    first: dict[str, str] = {}
    found = []
    for view in service.views:
        meaning = _meaning(view)
        if meaning in first:
            found.append(f"View {view.name!r} repeats view {first[meaning]!r}.")
        first.setdefault(meaning, view.name)
    return tuple(found)


def span_label(span: timedelta) -> str:
    """A span in the largest unit that holds it whole; days only from two days on, because people say 24 hours.

    >>> [span_label(timedelta(minutes=m)) for m in (45, 60, 90, 24 * 60, 7 * 24 * 60)]
    ['45m', '1h', '90m', '24h', '7d']
    """
    if span >= timedelta(days=2) and not span % timedelta(days=1):
        return f"{span.days}d"
    units = {"h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}
    for letter, unit in units.items():
        if not span % unit:
            return f"{span // unit}{letter}"
    return f"{span // timedelta(microseconds=1)}us"


def _meaning(view: FeatureView) -> str:
    """What a view computes, whatever it and its features are called and in whatever order they stand."""
    aggregates = sorted({str(aggregate.definition()) for aggregate in view.aggregates})
    definition: Mapping[str, Json] = view.definition() | {
        "name": None,
        "join_key": sorted(view.join_key),
        "columns": sorted(view.columns),
        "aggregates": aggregates,
    }
    return str(sorted(definition.items()))


def _seconds(span: timedelta) -> int | float:
    whole = not span.microseconds
    return span // timedelta(seconds=1) if whole else span / timedelta(seconds=1)


def _function(word: str) -> Function:
    try:
        return Function(word)
    except ValueError:
        raise InvalidInput(
            f"there is no aggregate {word!r}.", next_step=f"use one of {', '.join(Function)}."
        ) from None


def _column(name: str, where: str) -> None:
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{where}: {name!r} is no column name.", next_step="give it as text.")


def _once(names: Sequence[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"{what} {twice[0]!r} twice.", next_step="take one out, or give it another name.")
