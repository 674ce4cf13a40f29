"""Hold out the newest rows: a model is judged on days that came after everything it has learned from."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from everloop.data.profile import refuse_duplicates
from everloop.errors import InvalidInput


class Split(NamedTuple):
    """Rows to learn from, and later rows to be judged on.

    >>> learn, judge = Split(train=pa.table({"n": [1, 2]}), test=pa.table({"n": [3]}))
    >>> learn.num_rows, judge.num_rows
    (2, 1)
    """

    train: pa.Table
    test: pa.Table


def split_by_time(rows: pa.Table, time: str, test: timedelta) -> Split:
    """The rows of the last `test` up to the latest time as test, all strictly earlier rows as train.

    Both keep the table's order. A test row is later than the latest time less `test`, so 30 days of hourly
    rows are 720 hours. InvalidInput when a part would be empty or a row has no time.

    >>> from datetime import UTC, datetime
    >>> days = pa.table({"at": [datetime(2013, 1, day, tzinfo=UTC) for day in (3, 1, 2, 4)]})
    >>> [part.column("at").to_pylist()[0].day for part in split_by_time(days, "at", test=timedelta(days=2))]
    [1, 3]
    """
    if not isinstance(test, timedelta) or test <= timedelta(0):
        raise InvalidInput(
            f"test={test!r} is no window.",
            next_step="give a timedelta above zero, such as timedelta(days=28).",
        )
    times = _times(rows, time)
    end = pc.max(times).as_py()
    if end is None:
        raise InvalidInput("there are no rows to split.", next_step="give a table with rows.")
    try:
        edge = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=end) - test
    except OverflowError:
        raise InvalidInput(
            f"{test} before the latest row is no date.", next_step="give a shorter window."
        ) from None
    is_new = pc.greater(times, end - test // timedelta(microseconds=1))
    split = Split(train=rows.filter(pc.invert(is_new)), test=rows.filter(is_new))
    if not split.train.num_rows:
        raise InvalidInput(
            f"all {rows.num_rows} rows are later than {edge:%Y-%m-%d %H:%M}, so none is left to train on.",
            next_step="give a shorter window, or more rows.",
        )
    return split


def _times(table: pa.Table, name: str) -> pa.ChunkedArray:
    """The column as microseconds, each row with one."""
    refuse_duplicates(table.column_names)
    if name not in table.column_names:
        raise InvalidInput(
            f"there is no column {name}.", next_step=f"take one of {', '.join(table.column_names)}."
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
