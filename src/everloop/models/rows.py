"""Rows as users have them: as a table, until when they reach, and what they say of a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from everloop.errors import InvalidInput
from everloop.records.models import Task


def as_table(rows: Any) -> pa.Table:
    """An Arrow table, also from a data frame that Arrow can read (pandas, Polars)."""
    try:
        table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise InvalidInput(
            f"a {type(rows).__name__} cannot be read as a table: {error}.",
            next_step="give a pyarrow.Table or a data frame.",
        ) from None
    names = table.column_names
    twice = (
        [name for name in dict.fromkeys(names) if names.count(name) > 1] if len({*names}) < len(names) else []
    )
    if twice:
        raise InvalidInput(
            f"the rows have two columns named {', '.join(twice)}.",
            next_step="give each a name of its own, or leave one out.",
        )
    return table


def time_span(rows: pa.Table, time: str) -> tuple[datetime, datetime] | None:
    """The oldest and the newest time of the rows, in UTC; None when there are no rows.

    Raises InvalidInput for a column that is missing, is no time with a zone, or lacks a value.
    """
    times = column_of(rows, time, "time")
    if not pa.types.is_timestamp(times.type) or times.type.tz is None:
        raise InvalidInput(
            f"{time} is of type {times.type}; it must be a time with a time zone.",
            next_step="cast it to timestamp('us', 'UTC').",
        )
    if times.null_count:
        raise InvalidInput(
            f"{times.null_count} rows have no {time}, so nobody knows whether training has seen them.",
            next_step="leave them out.",
        )
    ends = pc.min_max(pc.cast(times, pa.timestamp("us", "UTC"), safe=False)).as_py()
    return None if ends["min"] is None else (ends["min"], ends["max"])


def labels_of(rows: pa.Table, label: str, task: Task = Task.BINARY) -> npt.NDArray[Any]:
    """The column of true answers, as a model of this task learns them: 0 and 1, or numbers.

    >>> labels_of(pa.table({"late": [True, False]}), "late").tolist()
    [1, 0]
    """
    column = column_of(rows, label, "label")
    if not len(column):
        raise InvalidInput(f"there are no rows with a label {label!r}.", next_step="give a table with rows.")
    if column.null_count:
        raise InvalidInput(
            f"{column.null_count} rows have no label {label!r}.",
            next_step=f'leave them out: rows.filter(pc.is_valid(rows["{label}"])).',
        )
    kinds = pa.types
    if not (kinds.is_boolean(column.type) or kinds.is_integer(column.type) or kinds.is_floating(column.type)):
        raise InvalidInput(
            f"label {label!r} is of type {column.type}; it must be 0 or 1, true or false, or a number.",
            next_step=f'make it one, such as pc.equal(rows["{label}"], "yes").',
        )
    return _LABELS[task](label, np.asarray(column.cast(pa.float64(), safe=False).to_numpy()))


def column_of(rows: pa.Table, name: str, what: str) -> pa.ChunkedArray:
    """The column of that name; InvalidInput tells which there are."""
    if name not in rows.column_names:
        raise InvalidInput(
            f"there is no {what} column {name!r} among {', '.join(rows.column_names)}.",
            next_step="name one of these.",
        )
    return rows[name]


def _zero_or_one(label: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    other = values[~np.isin(values, (0.0, 1.0))]
    if len(other):
        raise InvalidInput(
            f"label {label!r} is {other[0]:g} in a row; it must be 0 or 1, or true or false, in every row.",
            next_step='compare it with what it should tell, or say task="regression" where it is a number.',
        )
    return values.astype(np.int64)


def _finite(label: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not np.isfinite(values).all():
        raise InvalidInput(
            f"label {label!r} is not a finite number in every row.", next_step="leave those rows out."
        )
    return values


_LABELS: Mapping[Task, Callable[[str, npt.NDArray[np.float64]], npt.NDArray[Any]]] = {
    Task.BINARY: _zero_or_one,
    Task.REGRESSION: _finite,
}
