"""Ids that sort by the time they were made: UUID version 7 (RFC 9562, section 5.7)."""

import secrets
import uuid
from collections.abc import Callable
from datetime import datetime

from everloop.clock import Clock


def uuid7(time: datetime, random_bits: int) -> str:
    """48 bits of milliseconds, then 74 random bits around the version and variant marks.

    >>> from datetime import UTC
    >>> uuid7(datetime(2013, 1, 1, tzinfo=UTC), 0)
    '013bf3b1-3400-7000-8000-000000000000'
    """
    milliseconds = int(time.timestamp() * 1000) & ((1 << 48) - 1)
    high, low = (random_bits >> 62) & 0xFFF, random_bits & ((1 << 62) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))


def id_maker(now: Clock) -> Callable[[], str]:
    """A source of fresh ids."""
    return lambda: uuid7(now(), secrets.randbits(74))
