"""History for training: to each row that asks, the features as they were known at its moment.

Every row comes back exactly once and in its place. A row of a view's source is seen at `t` when both its event time
and its created time are at or before `t`; of those, the one with the latest event is taken, of equal events the one
created last, of equal creations the lower one in the table. Its age may be up to and including the view's ttl.

Where nothing is known there is a null: for a key that no row has or that is null, where `at` is null, before the first
row, beyond the ttl. A window is (at - over, at]; `count` over no rows is 0, every other aggregate over no values is
null. A null among a column's values is left out, as in SQL; a row with a null in a time or in a join key is never seen.

The values are found with sorted arrays and binary searches in numpy and fetched by Arrow, so they keep their types.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from everloop.errors import InvalidInput
from everloop.features import arrays
from everloop.features.arrays import UNKNOWN, Bools, Ints, Unit
from everloop.features.timeline import Questions, Timeline
from everloop.features.views import Aggregate, FeatureService, FeatureView, Function
from everloop.features.windows import Values, Window

Columns: TypeAlias = dict[str, "pa.Array | pa.ChunkedArray"]


@dataclass(frozen=True, slots=True)
class History:
    """A feature service and the tables behind it: what a training step joins its rows with.

    >>> from datetime import UTC, datetime
    >>> noon, evening = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 18, tzinfo=UTC)
    >>> weather = FeatureView(
    ...     "weather", source="weather", join_key="origin", event_time="observed_at", columns=["temp"]
    ... )
    >>> observed = pa.table({"origin": ["JFK", "JFK"], "observed_at": [noon, evening], "temp": [3.5, 1.0]})
    >>> flights = pa.table({"origin": ["JFK", "EWR"], "departs_at": [evening, evening]})
    >>> history = History(FeatureService("late", [weather]), {"weather": observed})
    >>> history.join(flights, at="departs_at").column("weather_temp").to_pylist()
    [1.0, None]
    """

    service: FeatureService
    sources: Mapping[str, pa.Table]
    """The rows of each dataset that the service reads, by the dataset's name."""

    def join(self, entities: pa.Table, *, at: str) -> pa.Table:
        """The rows with their features as they were known at the time that each has in its column `at`."""
        return historical_features(self.service, entities, at=at, sources=self.sources)


def historical_features(
    service: FeatureService,
    entities: pa.Table,
    *,
    at: str,
    sources: Mapping[str, pa.Table],
    threads: int | None = None,
) -> pa.Table:
    """Every row of `entities` once and in order, with all its columns and the service's features at its moment `at`.

    Views are worked on side by side by `threads` threads, by default one per processor; the result is the same.
    """
    _check_tables(service, entities, sources)
    workers = min(len(service.views), threads or os.cpu_count() or 1)
    asked = _Asked.of(service, entities, at, sources)
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(partial(_features, asked, sources), service.views))
    joined = entities
    for name, values in (pair for columns in found for pair in columns.items()):
        joined = joined.append_column(name, values)
    return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The rows that ask, in the order of their moments: searches then walk through memory and do not jump."""

    entities: pa.Table
    unit: Unit
    moments: Ints
    there: Bools
    """Where a moment is not null."""
    order: Ints | None
    """The rows in order of time; None when they came like that."""

    @classmethod
    def of(
        cls, service: FeatureService, entities: pa.Table, at: str, sources: Mapping[str, pa.Table]
    ) -> _Asked:
        values = arrays.column(entities, at, "the rows that ask")
        unit = arrays.unit_of([values, *_times(service, sources)])
        moments, there = arrays.moments(values, unit, f"Column {at!r} of the rows that ask")
        order = None if np.all(moments[1:] >= moments[:-1]) else np.argsort(moments, kind="stable")
        sorted_moments = moments if order is None else moments[order]
        return cls(entities=entities, unit=unit, moments=sorted_moments, there=there, order=order)

    def questions(self, keys: Ints) -> Questions:
        """The moments with these keys of the rows; a row without a moment asks for nobody."""
        keys = np.where(self.there, keys, UNKNOWN)
        return Questions(keys=keys if self.order is None else keys[self.order], moments=self.moments)

    def in_place(self, values: Values) -> Values:
        """What was found for each question, in the order of the rows; nothing for a row without a moment."""
        if self.order is None:
            return Values(numbers=values.numbers, there=values.there & self.there)
        numbers, there = np.empty_like(values.numbers), np.empty_like(values.there)
        numbers[self.order], there[self.order] = values.numbers, values.there
        return Values(numbers=numbers, there=there & self.there)

    def column(self, values: Values) -> pa.Array:
        """The same as a column."""
        placed = self.in_place(values)
        return pa.array(placed.numbers, mask=~placed.there)


def _features(asked: _Asked, sources: Mapping[str, pa.Table], view: FeatureView) -> Columns:
    """The features of one view in their order."""
    where = f"View {view.name!r} of {view.source!r}"
    source = sources[view.source]
    rows = [arrays.column(source, name, where) for name in view.join_key]
    mine = [arrays.column(asked.entities, name, "the rows that ask") for name in view.join_key]
    row_keys, asked_keys = arrays.codes(rows, mine, view.join_key, where)
    if view.event_time is None:
        hits = _lookup(row_keys, asked_keys, asked.there, rows, where)
        return _fetch(view, source, hits, where)
    timeline = _timeline(view, source, row_keys, asked.unit, where)
    questions = asked.questions(asked_keys)
    come = timeline.by_known.reached(questions)
    columns: Columns = {}
    if view.columns:
        hits = asked.in_place(_newest(view, timeline, questions, come, asked.unit))
        columns |= _fetch(view, source, hits, where)
    if view.aggregates:
        columns |= _aggregates(view, source, timeline, questions, come, asked, where)
    return columns


def _timeline(view: FeatureView, source: pa.Table, keys: Ints, unit: Unit, where: str) -> Timeline:
    events, seen = _moments(source, view.event_time, unit, where)
    if view.created_time is None:
        return Timeline.of(keys, events, None, seen)
    created, known = _moments(source, view.created_time, unit, where)
    return Timeline.of(keys, events, created, seen & known)


def _moments(source: pa.Table, name: str | None, unit: Unit, where: str) -> tuple[Ints, Bools]:
    assert name is not None
    return arrays.moments(arrays.column(source, name, where), unit, f"{where}: column {name!r}")
