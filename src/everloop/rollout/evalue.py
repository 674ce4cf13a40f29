"""Evidence that may be looked at after every request: e-values, kept as logarithms.

An e-value is the wealth of a gambler who bets against a claim at fair odds and never borrows. If the claim is true, the
wealth is a non-negative supermartingale that starts at 1, and the chance that it *ever* reaches 1/alpha is at most alpha
(Ville 1939). So it can be read whenever one likes, and the error rate stands.

Two bets are made here, each a mixture of gamblers who stake a fixed share of what they have:

- `which_arm` bets on the arm an event fell in (Lindon & Malek, "Anytime-valid inference for multinomial count data",
  NeurIPS 2022). Only events count, so the rate at which they come is free to drift.
- `mean_above_zero` bets on the mean of a bounded quantity (Waudby-Smith & Ramdas, "Estimating means of bounded random
  variables by betting", JRSS-B 2024).

The stakes are fixed and not learned from the past as that paper also allows. A little power is lost, and in return a
wealth is a plain product over what was seen: a label that comes late multiplies one more factor into it and changes none
of the others, which is what keeps the claim true when labels arrive in another order than the requests did. A label that
is corrected divides its old factor out again.
Logarithms are added without rounding (`exact_sum`), so a wealth is the same to the last bit whatever the order, whether it
was added up at once or look by look, and whatever has been taken out of it since.

Touched wrongly, it promotes what harms or blames what does not, and no single rollout shows it: fairness is shown by
`tests/rollout/test_evalue.py`, the error rates under peeking by `tests/rollout/test_judge.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from everloop.records.serving import Arm

MORE_OFTEN = (1.25, 1.6, 2.5, 5.0, 12.0)
"""How many times the stable revision's rate the gamblers expect of a harmful canary."""
OTHERWISE = (1 / 8, 1 / 2, 2 / 3, 4 / 5, 5 / 4, 3 / 2, 2.0, 8.0)
"""The same, upwards and downwards, for a share of traffic that is not what it should be."""
# Half of the money is on the boldest stake, and half of the rest on a stake half as bold, down to 0.7 percent. The boldest
# keeps a twentieth back: one bad draw at the very worst value would leave it with nothing for ever.
_STAKES = tuple((0.95 * 0.5**k, 0.5 ** (k + 1)) for k in range(8))


Exact: TypeAlias = tuple[float, ...]
"""A sum that nothing was rounded away from: each float is what those before it leave of it, rounded."""


def exact_sum(values: Iterable[float]) -> Exact:
    """The sum of finite floats, whole; equal sums are equal tuples, and the first float is the sum as `math.fsum` has it.

    >>> exact_sum([1e16, 1.0, 1e-3])[0], exact_sum([*exact_sum([1e16, 1.0, 1e-3]), -1e16, -1.0])
    (1.0000000000000002e+16, (0.001,))
    """
    terms = list(values)
    parts: list[float] = []
    while part := math.fsum(terms):
        parts.append(part)
        terms.append(-part)
    return tuple(parts)


class Gain(NamedTuple):
    """A result seen so many `times`: what a bet on the claim being false gains, and the most that it could have lost."""

    gain: float
    most_lost: float
    # Not `count`, which is a method of every tuple.
    times: int = 1


def which_arm(events: Mapping[tuple[int, Arm], int], ratios: Sequence[float]) -> float:
    """Log e-value against "events come no more often from the canary", from (canary's percent, arm) -> events.

    If the canary's rate is r times the stable revision's, an event that happens while the canary has the share s of the
    traffic falls on the canary with chance r s / (r s + 1 - s). Each gambler believes in one ratio r; the claim is r <= 1
    (or r = 1 when some of the ratios are below 1).

    >>> even = {(50, Arm.CANARY): 8, (50, Arm.STABLE): 8}
    >>> skewed = {(50, Arm.CANARY): 15, (50, Arm.STABLE): 1}
    >>> which_arm(even, MORE_OFTEN) < 0 < which_arm(skewed, MORE_OFTEN)
    True
    """
    seen = [(percent / 100, where, n) for (percent, where), n in events.items() if 0 < percent < 100]
    wealth = [
        math.fsum(n * math.log(_factor(ratio, share, where)) for share, where, n in seen) for ratio in ratios
    ]
    return _mixed(wealth, [1 / len(ratios)] * len(ratios))


def _factor(ratio: float, share: float, where: Arm) -> float:
    everything = ratio * share + 1 - share
    return ratio / everything if where is Arm.CANARY else 1 / everything


def mean_above_zero(gains: Iterable[Gain]) -> float:
    """Log e-value against "the mean gain is at most zero", for gains that are never below `-most_lost`.

    >>> mean_above_zero([Gain(0.01, 0.99, 100)]) < math.log(100) < mean_above_zero([Gain(0.01, 0.99, 600)])
    True
    """
    odds = [(gain.gain / gain.most_lost, gain.times) for gain in gains]
    return mixed_stakes([math.fsum([n * math.log1p(stake * odd) for odd, n in odds]) for stake, _ in _STAKES])


def factors(gain: float, most_lost: float) -> tuple[float, ...]:
    """What one gain adds to the log wealth of each stake; `mixed_stakes` makes the e-value of the sums.

    >>> mixed_stakes(factors(0.01, 0.99)) == mean_above_zero([Gain(0.01, 0.99)])
    True
    """
    odd = gain / most_lost
    return tuple(math.log1p(stake * odd) for stake, _ in _STAKES)


def mixed_stakes(log_wealth: Sequence[float]) -> float:
    """Log e-value of gamblers who each keep to one stake, from the log wealth that each has come to."""
    return _mixed(log_wealth, [weight for _, weight in _STAKES])


def fewest(gain: float, most_lost: float, log_limit: float) -> int:
    """How many of the same gain it takes, with never a loss, until the log e-value reaches the limit.

    >>> fewest(0.01, 0.99, math.log(100))
    550
    """
    enough = 1
    while mean_above_zero([Gain(gain, most_lost, enough)]) < log_limit:
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        reached = mean_above_zero([Gain(gain, most_lost, middle)]) >= log_limit
        enough, too_few = (middle, too_few) if reached else (enough, middle)
    return enough


def _mixed(log_wealth: Sequence[float], weights: Sequence[float]) -> float:
    """Log of the weighted mean of wealths that are given as logarithms."""
    top = max(log_wealth)
    total = math.fsum(weights)
    return top + math.log(
        math.fsum(w * math.exp(x - top) for x, w in zip(log_wealth, weights, strict=True)) / total
    )
