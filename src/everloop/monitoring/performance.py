"""How well a model does in use, from the labels that have come; missing labels mean that it is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from everloop.errors import InvalidInput
from everloop.evaluation.measure import evaluate_metrics
from everloop.evaluation.metric import Metric
from everloop.evaluation.records import Estimate, Metrics
from everloop.records.checks import CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """The metrics of a window of predictions, and how many of its predictions they are known from."""

    predictions: int
    labels: int
    coverage: float | None
    """Share of the predictions that have a label; None when there were no predictions."""
    metrics: Metrics = field(default_factory=dict)
    """Those that are known; none when there are too few labels for an interval."""


def performance(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    predictions: int,
    metrics: Iterable[Metric] = (),
    confidence: float = 0.95,
) -> Performance:
    """The metrics of the predictions that have a label, these of the user's too, out of all `predictions` of the window.

    >>> live = performance([0.2, 0.9, 0.4, 0.7], [0, 1, 0, 1], predictions=5)
    >>> live.coverage, live.metrics["auc"].value, performance([], [], predictions=5).metrics
    (0.8, 1.0, {})
    """
    known = np.size(labels)
    if known > predictions or np.size(scores) != known:
        raise InvalidInput(
            f"{known} labels and {np.size(scores)} scores are not of {predictions} predictions.",
            next_step="give a score for each label, and count every prediction of the window.",
        )
    coverage = known / predictions if predictions else None
    if known < 2:
        return Performance(predictions=predictions, labels=known, coverage=coverage)
    found = evaluate_metrics(scores, labels, metrics, confidence=confidence)
    return Performance(predictions=predictions, labels=known, coverage=coverage, metrics=found)


def reference(
    metric: Metric,
    recorded: Estimate | None,
    digest: str,
    again: Callable[[], tuple[npt.ArrayLike, npt.ArrayLike] | None],
    *,
    confidence: float = 0.95,
) -> Estimate | None:
    """What a champion's live performance is held against: its recorded estimate, if this very metric has made it.

    `digest` is that of the metric that made the record (`Evaluation.metric_digests`; empty for one that comes with
    everloop). Numbers of another version of a user's metric, and of one that did not exist then, are another number: the
    champion's scores and labels are asked for `again` and evaluated anew, and without them nothing is known.

    >>> cost = Metric("cost", losses=lambda score, label: abs(score - label))
    >>> then = Estimate(value=0.5, low=0.4, high=0.6)
    >>> reference(cost, then, cost.digest, lambda: None).value, reference(cost, then, "another", lambda: None)
    (0.5, None)
    >>> round(reference(cost, then, "another", lambda: ([0.2, 0.9, 0.4], [0, 1, 0])).value, 3)
    0.233
    """
    if recorded is not None and digest == metric.digest:
        return recorded
    rows = again()
    return None if rows is None else evaluate_metrics(*rows, [metric], confidence=confidence).get(metric.name)


def decayed(
    reference: Estimate | None, live: Estimate | None, margin: float, *, higher_is_better: bool = False
) -> CheckResult:
    """Has a metric become worse by at least `margin`, and is it sure to have become worse at all?

    It passes, that is, says yes, when the drop is as large as the margin and the interval of the difference, from two
    separate windows, lies on the bad side of zero. The first keeps small but certain changes quiet, the second luck.
    What is not known is not called decayed, and the answer says that it is not known.

    >>> then, now = Estimate(value=0.40, low=0.39, high=0.41), Estimate(value=0.46, low=0.44, high=0.48)
    >>> decayed(then, now, 0.03).because
    'worse by 0.0600 (0.0376 to 0.0824), margin 0.03'
    >>> decayed(then, None, 0.03).because
    'not known: there are too few labels'
    """
    name = f"decayed(margin={margin:g})"
    if reference is None or live is None:
        return CheckResult(name=name, passed=False, because="not known: there are too few labels")
    worse = _worse(reference, live, higher_is_better=higher_is_better)
    yes = worse.value >= margin and worse.low > 0
    return CheckResult(name=name, passed=yes, because=f"worse by {worse}, margin {margin:g}")


def _worse(reference: Estimate, live: Estimate, *, higher_is_better: bool) -> Estimate:
    """How much worse, with the halves of both intervals added as the errors of independent samples are."""
    value = reference.value - live.value if higher_is_better else live.value - reference.value
    half = float(np.hypot(reference.high - reference.low, live.high - live.low)) / 2
    return Estimate(value=value, low=value - half, high=value + half)
