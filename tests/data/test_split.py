"""The newest rows are held out, and nothing of them leaks into training."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.data.split import split_by_time
from everloop.errors import InvalidInput

START = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=50), st.integers(1, 1_500))
def test_every_row_is_on_one_side_and_train_is_strictly_earlier(hours: list[int], window: int) -> None:
    """Rows keep their order, none is lost, and all of test is later than all of train and within the window."""
    table = pa.table({"at": [START + timedelta(hours=hour) for hour in hours], "hour": hours})
    expected = [hour for hour in hours if hour > max(hours) - window]
    if len(expected) == len(hours):
        with pytest.raises(InvalidInput, match="none is left to train on"):
            split_by_time(table, "at", timedelta(hours=window))
        return
    split = split_by_time(table, "at", timedelta(hours=window))
    assert split.test.column("hour").to_pylist() == expected
    assert split.train.column("hour").to_pylist() == [hour for hour in hours if hour <= max(hours) - window]


def test_dates_and_clocks_without_zone_are_times_too() -> None:
    """Days and naive timestamps of any tick split alike."""
    days = pa.array([date(2013, 1, day) for day in range(1, 11)])
    for column in (days, days.cast(pa.timestamp("ms")), days.cast(pa.timestamp("ns"))):
        assert split_by_time(pa.table({"at": column}), "at", timedelta(days=3)).test.num_rows == 3


@pytest.mark.parametrize(
    ("column", "test", "reason"),
    [
        ([], DAY, "no rows to split"),
        ([START], DAY, "none is left to train on"),
        ([START, None], DAY, "null in 1 of 2 rows"),
        ([START], 0 * DAY, "no window"),
        ([START], -DAY, "no window"),
        ([START], 28, "no window"),
        ([START], float("nan"), "no window"),
        ([START], timedelta.max, "is no date"),
    ],
)
def test_what_cannot_be_split_is_refused(column: list[datetime | None], test: timedelta, reason: str) -> None:
    """An empty side, a row without a time and a senseless window are told and not guessed."""
    with pytest.raises(InvalidInput, match=reason):
        split_by_time(pa.table({"at": pa.array(column, pa.timestamp("us", "UTC"))}), "at", test)


def test_a_wrong_column_is_named() -> None:
    """A missing time, and one that is no time, say what there is."""
    table = pa.table({"x": [1, 2]})
    with pytest.raises(InvalidInput, match=r"no column at\. Next: take one of x"):
        split_by_time(table, "at", timedelta(days=1))
    with pytest.raises(InvalidInput, match="x is int64 and no time"):
        split_by_time(table, "x", timedelta(days=1))
