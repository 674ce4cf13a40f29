"""The gate before the registry: checks over an evaluation, joined by `&` and `|`; what cannot be judged has failed."""

from __future__ import annotations

import math
from collections.abc import Callable

from everloop.errors import InvalidInput, shown
from everloop.evaluation.metric import Metric, get_metric
from everloop.evaluation.records import Estimate, Evaluation, SliceResult
from everloop.records.checks import Check

# Every comparison below is written so that NaN makes it false.
_USUAL = "log_loss"


def beats(baseline: str, by: float = 0.0, *, metric: str | Metric = _USUAL) -> Check[Evaluation]:
    """The candidate is better than the baseline by more than `by` of the metric, and that is not luck.

    It passes when the whole interval of the paired difference lies on the better side.

    >>> (beats("constant") & beats("logistic", by=0.01, metric="auc")).name
    "(beats('constant', by=0) and beats('logistic', by=0.01, metric=auc))"
    """
    _number("by", by)
    row = get_metric(metric)

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        if baseline not in evaluation.against_baselines:
            return False, f"no baseline named {baseline!r} was evaluated"
        extra = evaluation.against_baselines[baseline].get(row.name)
        if extra is None:
            return False, _missing(row)
        return row.worse(extra).high < -by, f"{row.words} less that of {baseline}: {extra}"

    return _check(f"beats({baseline!r}, by={by:g}{_unless_usual(row)})", row, ask)


def not_worse(margin: float, *, metric: str | Metric = _USUAL) -> Check[Evaluation]:
    """The candidate is not worse than the champion by as much as `margin` of the metric: a test of non-inferiority.

    It passes when the whole interval of the paired difference lies below the margin, so a candidate that was compared
    on too few rows to tell is refused. Without a champion there is nobody to be worse than; a champion that could not be
    evaluated, or that the pipeline has not handed over to be, is one, and the candidate is refused.

    >>> not_worse(margin=0.01).name
    'not_worse(margin=0.01)'
    """
    _number("margin", margin)
    row = get_metric(metric)

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        if evaluation.champion is None:
            return _without_champion(evaluation)
        if evaluation.against_champion is None:
            return False, "the candidate was not compared with the champion"
        extra = evaluation.against_champion.get(row.name)
        if extra is None:
            return False, _missing(row)
        return row.worse(extra).high < margin, f"{row.words} less the champion's: {extra}"

    return _check(f"not_worse(margin={margin:g}{_unless_usual(row)})", row, ask)


def holds_on_slices(margin: float, *, metric: str | Metric = _USUAL) -> Check[Evaluation]:
    """On no level of a slice is the candidate shown to be worse than the champion by more than `margin` of the metric.

    It fails when some level's whole interval lies above the margin, and when no level had enough rows to tell.

    >>> holds_on_slices(margin=0.02).name
    'holds_on_slices(margin=0.02)'
    """
    _number("margin", margin)
    row = get_metric(metric)

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        if evaluation.champion is None:
            return _without_champion(evaluation)
        if row.name not in evaluation.candidate:
            return False, _missing(row)
        levels = evaluation.slices
        judged = [(level, level.differences[row.name]) for level in levels if row.name in level.differences]
        if not judged:
            return False, f"none of {len(levels)} levels had enough rows to tell"
        worse = [_level(level, extra) for level, extra in judged if not row.worse(extra).low <= margin]
        if worse:
            return False, f"{row.words} less the champion's: {', '.join(worse)}"
        level, extra = max(judged, key=lambda pair: row.worse(pair[1]).value)
        return True, f"{len(judged)} of {len(levels)} levels judged, the worst is {_level(level, extra)}"

    return _check(f"holds_on_slices(margin={margin:g}{_unless_usual(row)})", row, ask)


def at_least(metric: str | Metric, floor: float) -> Check[Evaluation]:
    """The candidate's metric is at least this.

    >>> at_least("auc", 0.7).name
    'auc >= 0.7'
    """
    _number("floor", floor)
    row = get_metric(metric)

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        found = evaluation.candidate.get(row.name)
        return (found is not None and found.value >= floor), _describe(row, found)

    return _check(f"{row.name} >= {floor:g}", row, ask)


def at_most(metric: str | Metric, ceiling: float) -> Check[Evaluation]:
    """The candidate's metric is at most this.

    >>> (at_most("log_loss", 0.6) & beats("constant")).name
    "(log_loss <= 0.6 and beats('constant', by=0))"
    """
    _number("ceiling", ceiling)
    row = get_metric(metric)

    def ask(evaluation: Evaluation) -> tuple[bool, str]:
        found = evaluation.candidate.get(row.name)
        return (found is not None and found.value <= ceiling), _describe(row, found)

    return _check(f"{row.name} <= {ceiling:g}", row, ask)


def _number(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(
            f"{what}={shown(value)} is no finite number.", next_step=f"give one, for example {what}=0.01."
        )


def _check(name: str, row: Metric, ask: Callable[[Evaluation], tuple[bool, str]]) -> Check[Evaluation]:
    """The check, which fails for numbers that another version of a user's metric has made."""

    def guarded(evaluation: Evaluation) -> tuple[bool, str]:
        if evaluation.metric_digests.get(row.name, row.digest) != row.digest:
            return False, f"{row.name} was evaluated by another version of its source"
        return ask(evaluation)

    return Check(name, guarded)


def _without_champion(evaluation: Evaluation) -> tuple[bool, str]:
    if evaluation.champion_left_out:
        return False, f"the champion could not be evaluated: {evaluation.champion_left_out}"
    return True, "there is no champion yet"


def _describe(row: Metric, found: Estimate | None) -> str:
    return _missing(row) if found is None else f"{row.name}: {found}"


def _missing(row: Metric) -> str:
    return f"no metric named {row.name!r} was computed"


def _unless_usual(row: Metric) -> str:
    return "" if row.name == _USUAL else f", metric={row.name}"


def _level(level: SliceResult, extra: Estimate) -> str:
    return f"{level.column}={level.level} {extra}"
