"""Who says whether a canary harms: judges that may look after every request and still keep their word.

A judge weighs the evidence of a rollout and says pass, marginal or fail, as Kayenta does. Fail needs proof of harm and
pass needs proof of safety; everything else is marginal, no evidence above all. Both proofs are e-values (see
`evalue`), so looking often costs nothing: the stated error rates hold however many times one looks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from everloop.errors import InvalidInput, shown
from everloop.evaluation.metric import Metric, get_metric, worst_loss
from everloop.records.checks import CheckResult
from everloop.records.serving import Arm
from everloop.rollout.evalue import (
    MORE_OFTEN,
    OTHERWISE,
    Exact,
    Gain,
    factors,
    fewest,
    mean_above_zero,
    mixed_stakes,
    which_arm,
)
from everloop.rollout.evidence import Evidence, Failure, First

_STAKES = len(factors(0.0, 1.0))
SPLIT_ALPHA = 0.001
"""How often a sound router may be accused of not keeping to the split."""


class Verdict(StrEnum):
    """What a judge says; of several judges the worst one is heard."""

    PASS = "pass"
    MARGINAL = "marginal"
    FAIL = "fail"

    @property
    def severity(self) -> int:
        """0 for pass, 1 for marginal, 2 for fail."""
        return list(Verdict).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judge said, why, and the numbers that it said it from."""

    verdict: Verdict
    result: CheckResult
    """Passed only when the verdict is pass."""
    numbers: Mapping[str, float]
    """Counts, estimates and natural logarithms of e-values; all finite, so they travel as JSON."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A rule over the evidence of a rollout; two judges joined by `&` are a judge.

    A judge that cannot be evaluated says fail: the stable revision keeps the traffic.

    >>> (error_rate() & quality())(Evidence()).verdict
    <Verdict.MARGINAL: 'marginal'>
    >>> Judge("mine", ("mine",), lambda evidence: 1 / 0)(Evidence()).result.because
    "cannot be evaluated: ZeroDivisionError('division by zero')"
    """

    name: str
    guards: tuple[str, ...]
    """What it watches; no two judges that are joined watch the same thing."""
    weigh: Callable[[Evidence], Judgement]
    metric: Metric | None = None
    """The metric whose losses it compares; None when it needs no labels."""
    terms: Callable[[float], Sequence[float]] | None = None
    """What it adds up over the pairs, from how much more of that the canary lost: the `sums` of its evidence."""

    @property
    def digest(self) -> str:
        """What tells its sums from those of another judge: names, the metric, and what it makes of a few losses."""
        # On demand, because whoever declares a judge need not wait for it.
        from everloop.storage.codec import digest_of

        metric = self.metric.digest if self.metric else ""
        bound = (self.metric.bound if self.metric else None) or 0.0
        terms = [self.terms(bound * part) for part in (-0.5, 0.0, 0.25)] if self.terms else []
        return f"{self.name} {metric} {digest_of(terms)}"

    def __call__(self, evidence: Evidence) -> Judgement:
        """Look at the evidence."""
        try:
            return self.weigh(evidence)
        except Exception as error:  # noqa: BLE001 - fail closed: whatever went wrong, the answer is no
            result = CheckResult(name=self.name, passed=False, because=f"cannot be evaluated: {error!r}")
            return Judgement(verdict=Verdict.FAIL, result=result, numbers={})

    def __and__(self, other: Judge) -> Judge:
        """Both must pass, and the first to say fail is heard."""
        if shared := set(self.guards) & set(other.guards):
            raise InvalidInput(
                f"{self.name} and {other.name} both judge {', '.join(sorted(shared))}.",
                next_step="keep one of them.",
            )
        name = f"({self.name} and {other.name})"
        return Judge(
            name,
            self.guards + other.guards,
            lambda evidence: _worst(name, self(evidence), other(evidence)),
            self.metric or other.metric,
            self.terms or other.terms,
        )


def _worst(name: str, left: Judgement, right: Judgement) -> Judgement:
    verdict = max(left.verdict, right.verdict, key=lambda verdict: verdict.severity)
    because = "; ".join(one.result.because for one in (left, right) if one.verdict is verdict)
    parts = (left.result, right.result)
    result = CheckResult(name=name, passed=verdict is Verdict.PASS, because=because, parts=parts)
    return Judgement(verdict=verdict, result=result, numbers={**left.numbers, **right.numbers})


# ---------------------------------------------------------------------------------------------------------------- errors


def error_rate(margin: float = 0.02, alpha: float = 0.01) -> Judge:
    """Fail when the canary errs more often than the stable revision, pass when it errs less than `margin` more often.

    A canary that errs no more often is failed with a chance of at most `alpha` (and one more in a thousand when the traffic
    is accused of not being split as it should), and one that errs `margin` more often is passed with a chance of at most
    `alpha`, in a whole rollout that is looked at after every request. Base rates may drift and the split may ramp.
    With no failure anywhere a pass takes about 275 requests of the canary at the default margin, 110 at 0.05.

    >>> error_rate(margin=0.05).name
    'error_rate(margin=0.05, alpha=0.01)'
    """
    _within("margin", margin)
    _within("alpha", alpha)
    name = f"error_rate(margin={margin:g}, alpha={alpha:g})"
    return Judge(name, ("errors",), lambda evidence: weigh_errors(evidence, margin, alpha, name))


def weigh_errors(evidence: Evidence, margin: float, alpha: float, name: str = "errors") -> Judgement:
    """The verdict on errors, from the counts of the evidence."""
    split, harm, safe = (
        _split_log_e(evidence.firsts),
        which_arm(evidence.failures, MORE_OFTEN),
        _safe_log_e(evidence.firsts, margin),
    )
    (canary, canary_failed), (stable, stable_failed) = evidence.of(Arm.CANARY), evidence.of(Arm.STABLE)
    finding = f"canary failed {_rate(canary_failed, canary)}, stable {_rate(stable_failed, stable)}"
    parts = (
        _unless(
            f"traffic is split as planned ({canary} units in the canary, {stable} in stable)",
            split,
            SPLIT_ALPHA,
        ),
        _unless(f"the canary errs no more often ({_first_failures(evidence.failures)})", harm, alpha),
        _only_if(
            f"the canary errs less than {margin:g} more often", safe, alpha, also=bool(canary and stable)
        ),
    )
    numbers = {
        "errors.canary": canary,
        "errors.canary_failed": canary_failed,
        "errors.stable": stable,
        "errors.stable_failed": stable_failed,
        "errors.split_log_e": split,
        "errors.harm_log_e": harm,
        "errors.safe_log_e": safe,
    }
    return _judgement(name, finding, parts, numbers, _of_one_unit(evidence))


def _of_one_unit(evidence: Evidence) -> str:
    if evidence.units != 1 or sum(evidence.requests.values()) < 2:
        return ""
    return (
        f"; every request is of the unit {shown(evidence.unit)}, which counts once: "
        "send a unit or an id of its own with each"
    )


def _first_failures(failures: Mapping[Failure, int]) -> str:
    fallen = {arm: sum(n for (_, where), n in failures.items() if where is arm) for arm in Arm}
    return f"{fallen[Arm.CANARY]} units first failed there, {fallen[Arm.STABLE]} in stable"


def _split_log_e(firsts: Mapping[First, int]) -> float:
    # The proof of safety weighs requests by the chance of their arm, so it means nothing when requests of one arm are lost
    # or misrouted: then a canary that dies before it is logged would look as if it never failed.
    units: Counter[tuple[int, Arm]] = Counter()
    for (percent, arm, _), n in firsts.items():
        units[percent, arm] += n
    return which_arm(units, OTHERWISE)


def _safe_log_e(firsts: Mapping[First, int], margin: float) -> float:
    """Log e-value against "the canary errs at least `margin` more often"."""
    return mean_above_zero(
        _margin_gain(percent / 100, arm, failed, margin, n)
        for (percent, arm, failed), n in firsts.items()
        if 0 < percent < 100
    )


def _margin_gain(share: float, arm: Arm, failed: bool, margin: float, count: int) -> Gain:
    # Weighted by the chance of its arm, the mean of `difference` is the canary's error rate less the stable revision's,
    # whatever the share and whatever the rates were at that moment (Horvitz & Thompson 1952).
    chance = share if arm is Arm.CANARY else share - 1
    difference = failed / chance
    return Gain(margin - difference, 1 / share - margin, count)


# --------------------------------------------------------------------------------------------------------------- quality


def quality(margin: float = 0.01, alpha: float = 0.01, *, metric: str | Metric = "brier") -> Judge:
    """Fail when the canary's answers are worse, pass when they are not worse by `margin` of a bounded metric's loss.

    It reads requests that both revisions scored and whose label is known, so a rollout with this judge shadows. A canary
    that is no worse is failed, and one that is worse by `margin` is passed, with a chance of at most `alpha` in a whole
    rollout that is looked at after every label. Nothing is assumed of the losses but their bounds, so a pass takes at least
    550 pairs at the default margin (274 at 0.02), and more the more the two revisions differ.
    Give it labels that are mature: if those of one kind come sooner, what it sees is not what happens.

    >>> (error_rate(margin=0.05) & quality(margin=0.02)).guards
    ('errors', 'quality')
    """
    _within("alpha", alpha)
    row = get_metric(metric, asked_by="quality")
    _within("margin", margin, worst_loss(row))
    name = f"quality(margin={margin:g}, alpha={alpha:g}, metric={row.name})"
    return Judge(
        name,
        ("quality",),
        lambda evidence: weigh_pairs(evidence, margin, alpha, row, name),
        row,
        partial(pair_terms, margin=margin, metric=row),
    )


def pair_terms(extra: float, *, margin: float, metric: Metric) -> Sequence[float]:
    """What the judge of quality adds up of a pair: the extra loss itself, and what it is to each stake of both bets."""
    worst = worst_loss(metric)
    if not abs(extra) <= worst:
        raise InvalidInput(
            f"two answers cannot differ by more than {worst:g} of {metric.name}.",
            next_step=f"give the loss named {metric.name!r} that the judge reads.",
        )
    return (extra, *factors(extra, worst), *factors(margin - extra, worst - margin))


def weigh_pairs(
    evidence: Evidence,
    margin: float,
    alpha: float,
    metric: str | Metric = "brier",
    name: str = "quality",
) -> Judgement:
    """The verdict on quality, from the sums of `pair_terms` over the pairs."""
    row = get_metric(metric)
    worst = worst_loss(row)
    pairs = sum(evidence.pairs.values())
    extra, *wealth = map(_rounded, evidence.sums or [()] * (1 + 2 * _STAKES))
    harm, safe = mixed_stakes(wealth[:_STAKES]), mixed_stakes(wealth[_STAKES:])
    mean = extra / pairs if pairs else 0.0
    finding = f"the canary's {row.name} less the stable revision's is {mean:+.4f} over {pairs} pairs"
    parts = (
        _unless("the canary is no worse", harm, alpha),
        _only_if(f"the canary is worse by less than {margin:g}", safe, alpha, also=bool(pairs)),
    )
    numbers = {
        "quality.pairs": pairs,
        "quality.extra_loss": mean,
        "quality.harm_log_e": harm,
        "quality.safe_log_e": safe,
    }
    least = fewest(margin, worst - margin, -math.log(alpha))
    return _judgement(
        name, finding, parts, numbers, f"; a pass takes {least} pairs at least" if pairs < least else ""
    )


# ---------------------------------------------------------------------------------------------------------------- shared


def _rounded(whole: Exact) -> float:
    return whole[0] if whole else 0.0


def _within(what: str, value: float, ceiling: float = 1.0) -> None:
    if not 0 < value < ceiling:
        raise InvalidInput(f"{what} is {value}.", next_step=f"choose a number between 0 and {ceiling:g}.")


def _judgement(
    name: str, finding: str, parts: tuple[CheckResult, ...], numbers: Mapping[str, float], hint: str
) -> Judgement:
    """The last part is the proof of safety; any other that does not hold is a proof of harm."""
    *harms, safe = parts
    why = [part for part in harms if not part.passed] or [safe]
    verdict = Verdict.FAIL if why != [safe] else Verdict.PASS if safe.passed else Verdict.MARGINAL
    if verdict is not Verdict.MARGINAL:
        hint = ""
    because = f"{verdict}: {finding}; {'; '.join(f'{part.name}: {part.because}' for part in why)}{hint}"
    result = CheckResult(name=name, passed=verdict is Verdict.PASS, because=because, parts=parts)
    return Judgement(verdict=verdict, result=result, numbers=numbers)


def _unless(claim: str, log_e: float, alpha: float) -> CheckResult:
    stands = log_e < -math.log(alpha)
    word = "not disproved" if stands else "disproved"
    return CheckResult(name=claim, passed=stands, because=f"{word}, {_shown(log_e, alpha)}")


def _only_if(claim: str, log_e: float, alpha: float, *, also: bool) -> CheckResult:
    proved = also and log_e >= -math.log(alpha)
    word = "proved" if proved else "not proved"
    return CheckResult(name=claim, passed=proved, because=f"{word}, {_shown(log_e, alpha)}")


def _shown(log_e: float, alpha: float) -> str:
    # Beyond e^700 a float has no room left, and nobody cares by how much.
    return f"e-value {math.exp(min(log_e, 700.0)):.3g} of {1 / alpha:g}"


def _rate(failed: int, total: int) -> str:
    return f"{failed} of {total}" + (f" ({failed / total:.2%})" if total else "")
