"""What time it is: the machine's clock, or a file that somebody moves on purpose."""

import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from everloop.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The machine's time, aware and in UTC."""
    return datetime.now(UTC)


class FileClock:
    """A clock that stands still until `set`; every process that reads the file agrees on the time.

    Replays and demos use it: a year passes in a minute, and server, worker and controller see the same year.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._time = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time that the file holds."""
        try:
            stat = os.stat(self._path)
        except FileNotFoundError:
            raise InvalidInput(
                f"the clock file {self._path} does not exist.",
                next_step="set it once, or take [clock] out of everloop.toml to use the machine's clock.",
            ) from None
        seen = (stat.st_mtime_ns, stat.st_ino)
        if seen != self._seen:
            self._time, self._seen = parse_time(self._path.read_text()), seen
        return self._time

    def set(self, time: datetime) -> None:
        """Move the clock; it never goes back."""
        if time.tzinfo is None:
            raise InvalidInput(
                f"{time.isoformat()} has no time zone.", next_step="give it one, like tzinfo=UTC."
            )
        if self._path.exists() and time < self():
            raise InvalidInput(
                f"the clock stands at {self().isoformat()} and cannot go back to {time.isoformat()}.",
                next_step="set it to a later time.",
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(f".{secrets.token_hex(4)}")
        fresh.write_text(time.astimezone(UTC).isoformat())
        # Readers look at the file's times only. Those of two sets in a row can be equal, and then so can the inode.
        stamp = (time - _EPOCH) // _MICROSECOND * 1000
        os.utime(fresh, ns=(stamp, stamp))
        os.replace(fresh, self._path)


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time; a time without a zone is refused, because guessing one is how data leaks.

    >>> parse_time("2013-01-31T23:00:00Z").isoformat()
    '2013-01-31T23:00:00+00:00'
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(
            f"{text.strip()!r} is not a time; write it like 2013-01-31T23:00:00Z.",
            next_step="put such a time there.",
        ) from None
    if time.tzinfo is None:
        raise InvalidInput(
            f"{text.strip()!r} has no time zone; add Z or an offset.",
            next_step="write it like 2013-01-31T23:00:00Z.",
        )
    return time.astimezone(UTC)
