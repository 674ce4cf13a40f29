"""History for training: to each row that asks, the features as they were known at its moment.

Every row comes back exactly once and in its place. A row of a view's source is seen at `t` when both its event time
and its created time are at or before `t`; of those, the one with the latest event is taken, of equal events the one
created last, of equal creations the lower one in the table. Its age may be up to and including the view's ttl.

Where nothing is known there is a null: for a key that no row has or that is null, where `at` is null, before the first
row, beyond the ttl. A window is (at - over, at]; `count` over no rows is 0, every other aggregate over no values is
null. A null among a column's values is left out, as in SQL; a row with a null in a time or in a join key is never seen.

Places are found with sorted arrays and binary searches in numpy, and values fetched by Arrow, so they keep their types.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from everloop.errors import InvalidInput
from everloop.features.arrays import unit_of
from everloop.features.asof import times_of, view_features
from everloop.features.entity_rows import EntityRows
from everloop.features.views import FeatureService


@dataclass(frozen=True, slots=True)
class History:
    """A feature service and the tables behind it: what a training step joins its rows with.

    >>> from datetime import UTC, datetime
    >>> from everloop.features.views import FeatureView
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
        """The rows with their features as they were known at the moment that each has in its column `at`."""
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

    >>> from datetime import UTC, datetime
    >>> from everloop.features.views import FeatureView
    >>> planes = FeatureView("plane", source="planes", join_key="tail", event_time=None, columns=["seats"])
    >>> asks = pa.table({"tail": ["N1", "N2"], "at": [datetime(2026, 1, 1, tzinfo=UTC)] * 2})
    >>> known = {"planes": pa.table({"tail": ["N2"], "seats": [180]})}
    >>> joined = historical_features(FeatureService("late", [planes]), asks, at="at", sources=known)
    >>> joined.column("plane_seats").to_pylist()
    [None, 180]
    """
    _check(service, entities, sources, threads)
    times = [time for view in service.views for time in times_of(view, sources[view.source]).values()]
    rows = EntityRows.of(entities, at, unit_of([*times, EntityRows.column_of(entities, at)]))
    with ThreadPoolExecutor(min(len(service.views), threads or os.cpu_count() or 1)) as pool:
        found = list(pool.map(lambda view: view_features(view, sources[view.source], rows), service.views))
    joined = entities
    for columns in found:
        for name, values in columns.items():
            joined = joined.append_column(name, values)
    return joined


def _check(
    service: FeatureService, entities: pa.Table, sources: Mapping[str, pa.Table], threads: int | None
) -> None:
    for name in service.sources:
        if name not in sources:
            raise InvalidInput(
                f"Service {service.name!r} reads {name!r}, and no table of that name was given.",
                next_step=f"add it to sources, which has {', '.join(sources) or 'none'}.",
            )
    for what, table in {
        "the rows that ask": entities,
        **{name: sources[name] for name in service.sources},
    }.items():
        if not isinstance(table, pa.Table):
            raise InvalidInput(
                f"{what}: {type(table).__name__} is no Arrow table.",
                next_step="give a pyarrow.Table; pyarrow.table(frame) makes one of a data frame.",
            )
    taken = sorted(set(service.features) & set(entities.column_names))
    if taken:
        raise InvalidInput(
            f"The rows that ask have a column {taken[0]!r} already, which is a feature of {service.name!r}.",
            next_step="drop or rename it.",
        )
    if threads is not None and threads < 1:
        raise InvalidInput(f"threads={threads} cannot work.", next_step="give 1 or more.")
