"""Hold out the newest rows: a model is judged on days that came after everything it has learned from."""

import math
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from everloop.data.profile import refuse_duplicates
from everloop.errors import InvalidInput


class Split(NamedTuple):
    """Rows to learn from, and later rows to be judged on."""

    train: pa.Table
    test: pa.Table


def newest(table: pa.Table, time: str, days: float) -> Split:
    """The rows of the last `days` days up to the latest time as test, all strictly earlier rows as train.

    Both keep the table's order. A test row is later than the latest time minus `days`, so 30 days of hourly
    rows are 720 hours. InvalidInput when a part would be empty or a row has no time.

    >>> from datetime import UTC, datetime
    >>> days = pa.table({"at": [datetime(2013, 1, day, tzinfo=UTC) for day in (3, 1, 2, 4)]})
    >>> [part.column("at").to_pylist()[0].day for part in newest(days, "at", days=2)]
    [1, 3]
    """
    if not (math.isfinite(days) and days > 0):
        raise InvalidInput(f"{days} days are no window.", next_step="give a positive number of days.")
    times = _times(table, time)
    end = pc.max(times).as_py()
    if end is None:
        raise InvalidInput("The table has no rows to split.")
    try:
        edge = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=end) - timedelta(days=days)
    except OverflowError as error:
        raise InvalidInput(f"{days} days before the latest row is no date.") from error
    is_new = pc.greater(times, end - round(days * 86_400e6))
    split = Split(train=table.filter(pc.invert(is_new)), test=table.filter(is_new))
    if not split.train.num_rows:
        raise InvalidInput(
            f"All {table.num_rows} rows are later than {edge:%Y-%m-%d %H:%M}, so none is left to train on.",
            next_step="give fewer days, or more rows.",
        )
    return split


def _times(table: pa.Table, name: str) -> pa.ChunkedArray:
    """The column as microseconds, each row with one."""
    refuse_duplicates(table.column_names)
    if name not in table.column_names:
        raise InvalidInput(
            f"There is no column {name}.", next_step=f"take one of {', '.join(table.column_names)}."
        )
    column = table.column(name)
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise InvalidInput(f"{name} is {column.type} and no time.", next_step="cast it to a timestamp.")
    if column.null_count:
        raise InvalidInput(
            f"{name} is null in {column.null_count} of {len(column)} rows.", next_step="drop them."
        )
    zone = getattr(column.type, "tz", None)
    return column.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
