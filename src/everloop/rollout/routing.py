"""Which revision answers: a pure function of who asks, so that nobody has to remember it."""

import hashlib

from everloop.records.serving import Arm

_UNITS_OF_HASH = 1 << 64


def arm(unit: str, salt: str, canary_percent: int) -> Arm:
    """The arm that this unit belongs to while the canary has this much of the traffic.

    The same unit and salt always land in the same place, and a unit that is in the canary at some percentage
    stays in it at every higher one. Every rollout takes a salt of its own, or the same people would meet every
    risky model.

    >>> arm("user-7", "rollout-1", 0), arm("user-7", "rollout-1", 100)
    (<Arm.STABLE: 'stable'>, <Arm.CANARY: 'canary'>)
    >>> sum(arm(f"user-{n}", "rollout-1", 20) is Arm.CANARY for n in range(10_000))
    1954
    """
    # Length first, so that no two pairs of salt and unit spell the same bytes. A unit comes from a request and may
    # hold lone surrogates, which must not turn into an error here.
    text = f"{len(salt)}:{salt}{unit}".encode("utf-8", "surrogatepass")
    place = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    # Integers throughout: a float would round at the edges and make the share depend on the machine.
    return Arm.CANARY if place * 100 < canary_percent * _UNITS_OF_HASH else Arm.STABLE
