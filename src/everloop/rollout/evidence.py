"""What a rollout has shown, as counts and sums: one more request, label or correction only adds to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TypeAlias, TypeVar

from everloop.records.serving import Arm
from everloop.rollout.evalue import Exact, exact_sum

K = TypeVar("K")
First: TypeAlias = tuple[int, Arm, bool]
"""Percent of traffic that the canary had, the arm that was met, and whether it failed."""
Failure: TypeAlias = tuple[int, Arm]
"""Percent of traffic that the canary had, and the arm that failed."""


def percent_of(arm: Arm, share: int) -> int:
    """Percent of traffic that the canary has when this arm has this share."""
    return share if arm is Arm.CANARY else 100 - share


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that a judge may look at; evidence of one part of the traffic and of another add up to that of both.

    Arms are sticky, so a unit is drawn once: its first request says what share of traffic fails, and its first failure says
    on which arm failures fall. Counting every failure of a unit took a judge with a stated rate of 1 % to 7.5 %.

    >>> one = Evidence(firsts={(20, Arm.CANARY, False): 1}, requests={20: 1}, unit="ann")
    >>> both = one + Evidence(firsts={(20, Arm.STABLE, True): 1}, failures={(20, Arm.STABLE): 1}, requests={20: 3})
    >>> both.units, both.requests, both.of(Arm.STABLE), both + Evidence() == both
    (2, {20: 4}, (1, 1), True)
    """

    firsts: Mapping[First, int] = field(default_factory=dict)
    """How many units met that at their first request."""
    failures: Mapping[Failure, int] = field(default_factory=dict)
    """How many units failed there for the first time."""
    requests: Mapping[int, int] = field(default_factory=dict)
    """How many requests there were, by the percent that the canary had."""
    pairs: Mapping[int, int] = field(default_factory=dict)
    """How many of them both revisions scored and have a label."""
    sums: tuple[Exact, ...] = ()
    """Over the pairs, of each of the numbers that the judge adds up (`Judge.terms`); none without pairs."""
    unit: str | None = None
    """On whose behalf the first of these requests was."""

    def __add__(self, other: Evidence) -> Evidence:
        """The evidence of both, this one's before the other's."""
        return Evidence(
            firsts=_added(self.firsts, other.firsts),
            failures=_added(self.failures, other.failures),
            requests=_added(self.requests, other.requests),
            pairs=_added(self.pairs, other.pairs),
            sums=_whole(zip_longest(self.sums, other.sums, fillvalue=())),
            unit=self.unit if self.unit is not None else other.unit,
        )

    @property
    def units(self) -> int:
        """On behalf of how many somebodies there were requests."""
        return sum(self.firsts.values())

    def of(self, arm: Arm) -> tuple[int, int]:
        """Units that met this arm first, and how many of those first requests failed."""
        mine = [(failed, n) for (_, where, failed), n in self.firsts.items() if where is arm]
        return sum(n for _, n in mine), sum(n for failed, n in mine if failed)


def of_pairs(
    percents: Iterable[int], terms: Iterable[Sequence[float]], *, taken_out: bool = False
) -> Evidence:
    """The evidence of pairs: for each the canary's percent and what the judge adds up of it.

    With `taken_out` it is what has to be added so that they are evidence no longer.
    """
    sign = -1 if taken_out else 1
    columns = zip(*terms, strict=True)
    return Evidence(
        pairs={percent: sign * n for percent, n in Counter(percents).items()},
        sums=_whole([[sign * term for term in column]] for column in columns),
    )


def _added(mine: Mapping[K, int], others: Mapping[K, int]) -> dict[K, int]:
    both = Counter(mine)
    both.update(others)
    return {key: n for key, n in both.items() if n}


def _whole(sums: Iterable[Iterable[Iterable[float]]]) -> tuple[Exact, ...]:
    found = tuple(exact_sum(term for part in parts for term in part) for parts in sums)
    return found if any(found) else ()
