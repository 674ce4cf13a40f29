"""One view, point in time: from the rows of its source and the rows that ask to columns of features.

As in `timeline.py`, a row that is seen too early or too long raises no error; `tests/features/test_history.py` shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from everloop.errors import InvalidInput
from everloop.features import arrays
from everloop.features.arrays import UNKNOWN, Ints, Unit
from everloop.features.entity_rows import EntityRows
from everloop.features.timeline import Lookups, Timeline
from everloop.features.views import Aggregate, FeatureView, Function
from everloop.features.windows import Values, Window
from everloop.storage.columns import decode

Columns: TypeAlias = "dict[str, pa.Array | pa.ChunkedArray]"


def view_features(view: FeatureView, source: pa.Table, entities: EntityRows) -> Columns:
    """The features of one view by name, in order, each with a value for every row that asks."""
    row_keys, entity_keys = _keys(view, source, entities)
    if view.event_time is None:
        return _fetch(view, source, _lookup(view, source, row_keys, entities.only_timed(entity_keys)))
    timeline = _timeline(view, source, row_keys, entities.unit)
    lookups = entities.lookups(entity_keys)
    come = timeline.by_known.reached(lookups)
    columns: Columns = {}
    if view.columns:
        newest = _newest(view, timeline, lookups, come, entities.unit)
        columns |= _fetch(view, source, entities.in_place(newest))
    if view.aggregates:
        answers = _aggregates(view, source, timeline, lookups, come, entities.unit)
        columns |= {name: entities.column(values) for name, values in answers.items()}
    return columns


def times_of(view: FeatureView, source: pa.Table) -> dict[str, pa.ChunkedArray]:
    """The columns of a view's source that hold its times, the event time first."""
    names = [name for name in (view.event_time, view.created_time) if name is not None]
    return {name: arrays.column(source, name, _where(view)) for name in names}


def _where(view: FeatureView) -> str:
    return f"View {view.name!r} of {view.source!r}"


def _keys(view: FeatureView, source: pa.Table, entities: EntityRows) -> tuple[Ints, Ints]:
    rows = [arrays.column(source, name, _where(view)) for name in view.join_key]
    mine = [EntityRows.column_of(entities.table, name) for name in view.join_key]
    return arrays.codes(rows, mine, view.join_key, _where(view))


def _lookup(view: FeatureView, source: pa.Table, row_keys: Ints, keys: Ints) -> Ints:
    """The one row of each key; -1 where there is none."""
    with_key = np.flatnonzero(row_keys != UNKNOWN)
    found = row_keys[with_key]
    repeated = np.flatnonzero(np.bincount(found) > 1)
    if len(repeated):
        first = int(with_key[found == repeated[0]][0])
        values = ", ".join(repr(source.column(name)[first].as_py()) for name in view.join_key)
        raise InvalidInput(
            f"{_where(view)} looks a row up by {', '.join(view.join_key)}, and {values} has several.",
            next_step="keep one row for each key, or name the event time to take the latest.",
        )
    # One place more than there are codes, so that the code of an unknown key, -1, finds nothing there.
    row_of = np.full(max(int(keys.max(initial=0)), int(found.max(initial=0))) + 2, UNKNOWN)
    row_of[found] = with_key
    return row_of[keys]


def _timeline(view: FeatureView, source: pa.Table, keys: Ints, unit: Unit) -> Timeline:
    times = [
        arrays.moments(values, unit, f"{_where(view)}: column {name!r}")
        for name, values in times_of(view, source).items()
    ]
    events, seen = times[0]
    if len(times) == 1:
        return Timeline.of(keys, events, None, seen)
    created, known = times[1]
    return Timeline.of(keys, events, created, seen & known)


def _newest(view: FeatureView, timeline: Timeline, lookups: Lookups, come: Ints, unit: Unit) -> Ints:
    """The row of the source that each lookup sees; -1 where it sees none."""
    rows = timeline.newest(lookups, come)
    seen = rows != UNKNOWN
    if view.ttl is not None and len(timeline.events):
        seen &= timeline.events[rows] >= arrays.before(lookups.moments, arrays.length(view.ttl, unit))
    found = np.full(len(rows), UNKNOWN)
    found[seen] = timeline.source_rows[rows[seen]]
    return found


def _fetch(view: FeatureView, source: pa.Table, rows: Ints) -> Columns:
    """The view's columns of these rows of the source, null for the row -1."""
    columns = {}
    for name, feature in zip(view.columns, view.features, strict=False):
        values = arrays.column(source, name, _where(view))
        columns[feature] = arrays.taken(values, rows, f"{_where(view)}: column {name!r}")
    return columns


def _aggregates(
    view: FeatureView, source: pa.Table, timeline: Timeline, lookups: Lookups, come: Ints, unit: Unit
) -> dict[str, Values]:
    """The view's aggregates by feature; columns, places and sums that several of them need are found once."""
    features = dict(zip(view.aggregates, view.features[len(view.columns) :], strict=True))
    columns = {name: _values(view, source, timeline, name) for name in _columns_of(view.aggregates)}
    goes = timeline.by_event()
    found: dict[str, Values] = {}
    for over in dict.fromkeys(aggregate.over for aggregate in view.aggregates):
        span = arrays.length(over, unit)
        window = Window.of(timeline, goes, come, goes.reached(lookups, span), span)
        same_window = [aggregate for aggregate in view.aggregates if aggregate.over == over]
        for name in _columns_of(same_window):
            same = [aggregate for aggregate in same_window if aggregate.column == name]
            answers = window.evaluate(
                columns[name], [one.function for one in same], f"{_where(view)}: {name!r}"
            )
            found |= {features[one]: answers[one.function] for one in same}
    return {feature: found[feature] for feature in features.values()}


def _columns_of(aggregates: Sequence[Aggregate]) -> list[str | None]:
    return list(dict.fromkeys(aggregate.column for aggregate in aggregates))


def _values(view: FeatureView, source: pa.Table, timeline: Timeline, name: str | None) -> Values:
    """What is summed of a column at the rows of the timeline; without a column, one for each row."""
    if name is None:
        rows = len(timeline.source_rows)
        return Values(numbers=np.ones(rows, np.int64), there=np.ones(rows, np.bool_))
    where = f"{_where(view)}: column {name!r}"
    values = decode(arrays.column(source, name, where))
    functions = {aggregate.function for aggregate in view.aggregates if aggregate.column == name}
    there = arrays.valid(values)[timeline.source_rows]
    if functions == {Function.COUNT}:  # anything can be counted, texts too
        return Values(numbers=there.astype(np.int64), there=there)
    numbers = arrays.numbers(values, where)
    if Function.SHARE in functions and not np.isin(numbers, (0, 1)).all():
        raise InvalidInput(
            f"{where} holds more than 0 and 1, so it has no share.", next_step="use mean, or compare first."
        )
    return Values(numbers=numbers[timeline.source_rows], there=there)
