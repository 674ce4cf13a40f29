"""Clocks: the machine's, and one in a file that every process reads the same."""

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everloop.clock import FileClock, parse_time, system_clock
from everloop.errors import InvalidInput

START = datetime(2013, 1, 1, tzinfo=UTC)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=ZONES)
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_the_machines_clock_is_aware_and_in_utc() -> None:
    """No other place in everloop asks the machine for the time of day."""
    assert system_clock().tzinfo is UTC
    assert abs(system_clock() - datetime.now(UTC)) < timedelta(minutes=1)


@quick
@given(times=st.lists(TIMES, min_size=1, max_size=8))
def test_every_reader_sees_each_time_that_is_set(tmp_path: Path, times: list[datetime]) -> None:
    """Exactly, in UTC, however quickly one follows the other; a reader that slept sees the newest."""
    (tmp_path / "clock").unlink(missing_ok=True)
    clock, reader, sleeper = (FileClock(tmp_path / "clock") for _ in range(3))
    clock.set(min(times))
    assert sleeper() == min(times)
    for time in sorted(times):
        clock.set(time)
        assert clock() == reader() == time
        assert reader().tzinfo is UTC
    assert sleeper() == max(times)


def test_time_stands_still_until_it_is_set(tmp_path: Path) -> None:
    """And is read from the file by a fresh clock, as another process would."""
    FileClock(tmp_path / "deep" / "clock").set(START)
    clock = FileClock(tmp_path / "deep" / "clock")
    assert [clock(), clock()] == [START, START]


def test_time_never_goes_back(tmp_path: Path) -> None:
    """The refusal names both times, and the clock stays; the same time again is fine."""
    clock = FileClock(tmp_path / "clock")
    clock.set(START)
    with pytest.raises(InvalidInput, match=r"2013-01-01T00:00:00.* cannot go back to 2012-12-31"):
        clock.set(START - timedelta(days=1))
    clock.set(START)
    assert clock() == START


def test_a_clock_without_a_file_says_what_to_do(tmp_path: Path) -> None:
    """Nobody's machine time slips in instead."""
    with pytest.raises(InvalidInput, match="does not exist"):
        FileClock(tmp_path / "clock")()


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    """Also as the very first one."""
    with pytest.raises(InvalidInput, match="no time zone"):
        FileClock(tmp_path / "clock").set(datetime(2013, 1, 1))
    assert not (tmp_path / "clock").exists()


def test_a_reader_never_sees_a_half_written_time(tmp_path: Path) -> None:
    """While one thread sets, another reads nothing but times that were set, and never an earlier one."""
    clock, reader = FileClock(tmp_path / "clock"), FileClock(tmp_path / "clock")
    clock.set(START)
    done = threading.Event()

    def go() -> None:
        for minutes in range(300):
            clock.set(START + timedelta(minutes=minutes))
        done.set()

    thread = threading.Thread(target=go)
    thread.start()
    seen = [reader()]
    while not done.is_set():
        seen.append(reader())
    thread.join()
    assert seen == sorted(seen)
    assert all(time.second == 0 for time in seen)


@given(time=TIMES)
def test_a_written_time_is_read_back(time: datetime) -> None:
    """The same instant, now in UTC; spaces around it do not matter."""
    assert parse_time(f" {time.isoformat()}\n") == time
    assert parse_time(time.isoformat()).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "now", "2013-13-01T00:00:00Z", "2013-01-01T25:00:00Z", "1"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With an example of what is one."""
    with pytest.raises(InvalidInput, match="write it like 2013-01-31T23:00:00Z"):
        parse_time(text)


@pytest.mark.parametrize("text", ["2013-01-01", "2013-01-01T00:00:00"])
def test_a_written_time_without_a_zone_is_refused(text: str) -> None:
    """Guessing one is how data leaks."""
    with pytest.raises(InvalidInput, match="add Z or an offset"):
        parse_time(text)
