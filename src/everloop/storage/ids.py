"""Ids that sort by the time they were made: UUID version 7 (RFC 9562, section 5.7)."""

import secrets
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from everloop.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RANDOM_BITS = 74


def uuid7(time: datetime, random_bits: int) -> str:
    """48 bits of milliseconds, then 74 random bits around the version and variant marks.

    >>> uuid7(datetime(2013, 1, 1, tzinfo=UTC), 0)
    '013bf368-5800-7000-8000-000000000000'
    """
    milliseconds = (time - _EPOCH) // _MILLISECOND
    high, low = (random_bits >> 62) & 0xFFF, random_bits & ((1 << 62) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))


def id_maker(now: Clock, random: Callable[[int], int] = secrets.randbits) -> Callable[[], str]:
    """A source of fresh ids, each greater than the one before, also while the clock stands still or goes back.

    >>> make = id_maker(lambda: datetime(2013, 1, 1, tzinfo=UTC))
    >>> make() < make()
    True
    """
    lock = threading.Lock()
    newest, bits = _EPOCH, 0

    def make() -> str:
        nonlocal newest, bits
        time = now()
        with lock:
            bits += 1 + random(32)  # RFC 9562, section 6.2, method 2: count up by a random step
            if time > newest + _MILLISECOND or bits >> _RANDOM_BITS:
                newest = max(time, newest + _MILLISECOND)
                bits = random(_RANDOM_BITS - 1)  # the top bit stays free, so that there is room to count
            return uuid7(newest, bits)

    return make
