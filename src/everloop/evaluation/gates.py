"""The gate before the registry: checks over an evaluation, joined by `&` and `|`; what cannot be judged has failed."""

from __future__ import annotations

from everloop.evaluation.records import Estimate, Evaluation, SliceResult
from everloop.records.checks import Check

# Every comparison below is written so that NaN makes it false.


def beats(baseline: str, by: float = 0.0) -> Check[Evaluation]:
    """The candidate's log loss is lower than the baseline's by more than `by`, and that is not luck.

    It passes when the whole interval of the paired difference lies below.

    >>> (beats("constant") & beats("logistic", by=0.01)).name
    "(beats('constant', by=0) and beats('logistic', by=0.01))"
    """

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        if baseline not in evaluation.against_baselines:
            return False, f"no baseline named {baseline!r} was evaluated"
        extra = evaluation.against_baselines[baseline].log_loss
        return extra.high < -by, f"log loss less that of {baseline}: {extra}"

    return Check(f"beats({baseline!r}, by={by:g})", ask)


def not_worse(margin: float) -> Check[Evaluation]:
    """The candidate is not worse than the champion by as much as `margin` of log loss: a test of non-inferiority.

    It passes when the whole interval of the paired difference lies below the margin, so a candidate that was compared
    on too few rows to tell is refused. Without a champion there is nobody to be worse than.

    >>> not_worse(margin=0.01).name
    'not_worse(margin=0.01)'
    """

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        if evaluation.champion is None:
            return True, "there is no champion yet"
        if evaluation.against_champion is None:
            return False, "the candidate was not compared with the champion"
        extra = evaluation.against_champion.log_loss
        return extra.high < margin, f"log loss less the champion's: {extra}"

    return Check(f"not_worse(margin={margin:g})", ask)


def holds_on_slices(margin: float) -> Check[Evaluation]:
    """On no level of a slice is the candidate shown to be worse than the champion by more than `margin` of log loss.

    It fails when some level's whole interval lies above the margin, and when no level had enough rows to tell.

    >>> holds_on_slices(margin=0.02).name
    'holds_on_slices(margin=0.02)'
    """

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        if evaluation.champion is None:
            return True, "there is no champion yet"
        judged = [(level, level.difference) for level in evaluation.slices if level.difference is not None]
        if not judged:
            return False, f"none of {len(evaluation.slices)} levels had enough rows to tell"
        worse = [_level(level, extra) for level, extra in judged if not extra.low <= margin]
        if worse:
            return False, f"log loss less the champion's: {', '.join(worse)}"
        level, extra = max(judged, key=lambda pair: pair[1].value)
        return (
            True,
            f"{len(judged)} of {len(evaluation.slices)} levels judged, the worst is {_level(level, extra)}",
        )

    return Check(f"holds_on_slices(margin={margin:g})", ask)


def at_least(metric: str, floor: float) -> Check[Evaluation]:
    """The candidate's metric is at least this.

    >>> at_least("auc", 0.7).name
    'auc >= 0.7'
    """

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        found = evaluation.candidate.find(metric)
        return (found is not None and found.value >= floor), _told(metric, found)

    return Check(f"{metric} >= {floor:g}", ask)


def at_most(metric: str, ceiling: float) -> Check[Evaluation]:
    """The candidate's metric is at most this.

    >>> (at_most("log_loss", 0.6) & beats("constant")).name
    "(log_loss <= 0.6 and beats('constant', by=0))"
    """

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        found = evaluation.candidate.find(metric)
        return (found is not None and found.value <= ceiling), _told(metric, found)

    return Check(f"{metric} <= {ceiling:g}", ask)


def _told(metric: str, found: Estimate | None) -> str:
    return f"no metric named {metric!r} was computed" if found is None else f"{metric}: {found}"


def _level(level: SliceResult, extra: Estimate) -> str:
    return f"{level.column}={level.level} {extra}"
