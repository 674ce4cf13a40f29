"""When is a schedule's newest time? Held against a reference that asks every single minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from everloop.errors import InvalidInput
from everloop.loop.decisions import newest_slot
from everloop.loop.triggers import ScheduleTrigger, on_schedule

MINUTE = timedelta(minutes=1)

# A zone, and a moment near which its clocks change: by an hour, by half an hour, at midnight, by a whole day, never.
CHANGES = {
    "UTC": datetime(2013, 3, 31),
    "America/New_York": datetime(2013, 3, 10),
    "Europe/Vienna": datetime(2013, 10, 27),
    "Australia/Lord_Howe": datetime(2013, 4, 7),
    "America/Sao_Paulo": datetime(2013, 10, 20),
    "Pacific/Apia": datetime(2011, 12, 30),
    "Asia/Kathmandu": datetime(2013, 5, 1),
}


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    listed = st.lists(number, min_size=1, max_size=3, unique=True).map(lambda all_: ",".join(map(str, all_)))
    return st.one_of(st.just("*"), st.integers(2, 6).map(lambda n: f"*/{n}"), number.map(str), span, listed)


CRONS = st.tuples(
    _field(0, 59),
    _field(0, 23),
    st.one_of(st.just("*"), _field(1, 28)),
    st.just("*"),
    st.one_of(st.just("*"), _field(0, 6)),
).map(" ".join)


def _holds(field: str, value: int, low: int, high: int) -> bool:
    """Whether a value is one that a field of a cron line names."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, last = (low, high) if span == "*" else map(int, (span.split("-") * 2)[:2])
        if value in range(first, last + 1, int(step or 1)):
            return True
    return False


def _says(cron: str, wall: datetime) -> bool:
    """Whether a cron line names this minute on the wall's clock."""
    minute, hour, day, _, weekday = cron.split()
    days = _holds(day, wall.day, 1, 31), _holds(weekday, wall.isoweekday() % 7, 0, 6)
    right_day = all(days) if day.startswith("*") or weekday.startswith("*") else any(days)
    return right_day and _holds(hour, wall.hour, 0, 23) and _holds(minute, wall.minute, 0, 59)


def _real(wall: datetime, zone: ZoneInfo) -> datetime:
    """The moment at which the wall shows a time for the first time; for one that is left out, right after the gap."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    while moment.astimezone(zone).replace(tzinfo=None) != wall:
        wall += MINUTE
        moment = wall.replace(tzinfo=zone).astimezone(UTC)
    return moment


def slow_newest(rule: ScheduleTrigger, since: datetime, now: datetime) -> datetime | None:
    """The reference: every minute is asked, on the wall for fixed times, one after another for the others."""
    zone = ZoneInfo(rule.timezone)
    minute, hour, *_ = rule.cron.split()
    found = []
    if minute.startswith("*") or hour.startswith("*"):
        moment = since.replace(second=0, microsecond=0)
        while moment <= now:
            if _says(rule.cron, moment.astimezone(zone)):
                found.append(moment)
            moment += MINUTE
    else:
        wall = (since - timedelta(days=2)).astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
        while wall <= (now + timedelta(days=2)).astimezone(zone).replace(tzinfo=None):
            if _says(rule.cron, wall):
                found.append(_real(wall, zone))
            wall += MINUTE
    return max((slot for slot in found if since < slot <= now), default=None)


@settings(max_examples=60, deadline=None)
@given(
    cron=CRONS,
    zone=st.sampled_from(sorted(CHANGES)),
    offset=st.integers(-26 * 3600, 26 * 3600),
    span=st.integers(1, 30 * 3600),
)
@example(cron="30 2 * * *", zone="America/New_York", offset=7 * 3600, span=3600)  # 2:30 is left out
@example(cron="30 1 * * *", zone="Europe/Vienna", offset=3600, span=7200)
@example(
    cron="30 2 * * *", zone="Europe/Vienna", offset=3600 + 600, span=7200
)  # 2:10 comes for the second time
@example(cron="0 0 * * *", zone="America/Sao_Paulo", offset=3 * 3600, span=600)
@example(cron="* */2 * * 0", zone="America/Sao_Paulo", offset=3 * 3600, span=1)
@example(cron="0 12 * * *", zone="Pacific/Apia", offset=10 * 3600, span=3600)
@example(cron="* 2,10,19 4 * 1,2,5", zone="Pacific/Apia", offset=47893, span=267)
@example(cron="*/20 * * * *", zone="Europe/Vienna", offset=3600 + 600, span=7200)
def test_the_newest_time_is_the_one_that_asking_every_minute_finds(
    cron: str, zone: str, offset: int, span: int
) -> None:
    """For any line, in zones whose clocks jump by an hour, by half of one, at midnight and by a day."""
    now = CHANGES[zone].replace(tzinfo=UTC) + timedelta(seconds=offset)
    since = now - timedelta(seconds=span)
    rule = ScheduleTrigger(cron, zone)
    assert newest_slot(rule, since, now) == slow_newest(rule, since, now)


def test_a_time_is_due_at_its_very_second_and_never_twice() -> None:
    """(since, now]: not a microsecond before, and not again once it is the `since` of the next look."""
    rule, six = on_schedule("0 6 * * *"), datetime(2013, 1, 2, 6, tzinfo=UTC)
    day_before = six - timedelta(days=1)
    assert newest_slot(rule, day_before, six - timedelta(microseconds=1)) is None
    assert newest_slot(rule, day_before, six) == six
    assert newest_slot(rule, six, six) is None
    assert newest_slot(rule, six, six + timedelta(hours=23, minutes=59, seconds=59)) is None


def test_times_that_were_missed_are_made_up_for_by_the_newest() -> None:
    """After a year of standing still there is one time to make up for, not 365."""
    rule = on_schedule("0 6 * * *", timezone="Europe/Vienna")
    start = datetime(2013, 1, 1, tzinfo=UTC)
    assert newest_slot(rule, start, start + timedelta(days=365)) == datetime(2013, 12, 31, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "0 0 6 * * *", "61 * * * *", "0 6 * * 9", "0 6 31 2 *", "at six", "5-3 * * * *"]
)
def test_a_line_that_means_nothing_or_never_comes_is_refused(cron: str) -> None:
    """With an example of what is right; also lines with seconds, which a controller that looks now and then cannot keep."""
    with pytest.raises(InvalidInput, match="write five fields"):
        on_schedule(cron)


def test_a_zone_that_does_not_exist_is_refused() -> None:
    """Guessing one would move every run by hours."""
    with pytest.raises(InvalidInput, match="there is no time zone"):
        on_schedule("0 6 * * *", timezone="Mars/Olympus")
    with pytest.raises(InvalidInput, match="there is no time zone"):
        on_schedule("0 6 * * *", timezone="../etc/passwd")
