"""Measure a scorer on labelled rows: what the rows of `METRICS` say of it, each number with an interval.

The one place that calls the functions of a metric, a user's among them, and so the one that checks what they return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from everloop.errors import EverloopError, InvalidInput, shown
from everloop.evaluation.binary import Floats, binary
from everloop.evaluation.metric import Metric, metrics_of, worst_loss
from everloop.evaluation.records import Difference, Estimate, Metrics

T = TypeVar("T")
_ROUNDING = 1e-9  # by this share a loss may lie above its bound, for it was computed in another order


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What one scorer said of some rows, their labels, and what each row cost by each metric that is a mean."""

    outputs: Floats
    labels: Floats
    losses: Mapping[str, Floats]

    def only(self, rows: npt.NDArray[np.intp]) -> Scored:
        """The rows at these places."""
        losses = {name: losses[rows] for name, losses in self.losses.items()}
        return Scored(outputs=self.outputs[rows], labels=self.labels[rows], losses=losses)


def scored(outputs: npt.ArrayLike, labels: npt.ArrayLike, metrics: Iterable[Metric]) -> Scored:
    """Check outputs and labels against each other, and take the loss of every row once."""
    sample = binary(outputs, labels)
    means = [metric for metric in metrics if metric.losses is not None]
    losses = {metric.name: row_losses(metric, sample.scores, sample.labels) for metric in means}
    return Scored(outputs=sample.scores, labels=sample.labels, losses=losses)


def evaluate_metrics(
    outputs: npt.ArrayLike,
    labels: npt.ArrayLike,
    metrics: Iterable[Metric] = (),
    *,
    confidence: float = 0.95,
) -> Metrics:
    """Every metric of one scorer and these of the user's, each with its interval; what cannot be told is left out.

    >>> found = evaluate_metrics([0.2, 0.9, 0.4], [0, 1, 0])
    >>> list(found), round(found["brier"].value, 4)
    (['log_loss', 'log_loss_capped', 'brier'], 0.07)
    """
    rows = metrics_of(own=metrics)
    return estimates(scored(outputs, labels, rows), rows, confidence)


def estimates(one: Scored, metrics: Iterable[Metric], confidence: float) -> Metrics:
    """These metrics of one scorer, without those that cannot be told from so few rows."""
    return _known({metric.name: estimate(metric, one, confidence) for metric in metrics})


def differences(one: Scored, other: Scored, metrics: Iterable[Metric], confidence: float) -> Difference:
    """These metrics of one scorer less those of another on the same rows, paired row by row."""
    return _known({metric.name: difference(metric, one, other, confidence) for metric in metrics})


def estimate(metric: Metric, one: Scored, confidence: float) -> Estimate | None:
    """One metric of one scorer: the mean of its losses, unless the metric knows better."""
    if metric.estimate is None:
        return mean_estimate(one.losses[metric.name], confidence)
    return _told(metric, _call(metric, metric.estimate, one.outputs, one.labels, confidence))


def difference(metric: Metric, one: Scored, other: Scored, confidence: float) -> Estimate | None:
    """One metric of one scorer less that of another: the mean of what rows differ by, unless the metric knows better."""
    if metric.difference is None:
        return mean_estimate(one.losses[metric.name] - other.losses[metric.name], confidence)
    return _told(metric, _call(metric, metric.difference, one.outputs, other.outputs, one.labels, confidence))


def mean_estimate(values: Floats, confidence: float = 0.95) -> Estimate:
    """The mean of independent values, with Student's interval.

    >>> str(mean_estimate(np.array([1.0, 2.0, 3.0])))
    '2.0000 (-0.4841 to 4.4841)'
    """
    if len(values) < 2:
        raise InvalidInput("an interval needs two values at least.", next_step="wait for more labelled rows.")
    # On demand, because scipy takes longer to import than everything else here to run.
    from scipy.special import stdtrit

    value = float(values.mean())
    spread = float(values.std(ddof=1)) / len(values) ** 0.5
    half = float(stdtrit(len(values) - 1, 0.5 + confidence / 2)) * spread
    return Estimate(value=value, low=value - half, high=value + half)


def row_losses(metric: Metric, outputs: Floats, labels: Floats) -> Floats:
    """What each row costs: a finite number a row, and none above the metric's bound."""
    if metric.losses is None:
        raise InvalidInput(
            f"metric {metric.name} is no mean of rows.",
            next_step="take one that has losses, for example brier.",
        )
    losses = np.asarray(_call(metric, metric.losses, outputs, labels))
    if losses.shape != labels.shape or losses.dtype.kind not in "biuf":
        raise _bad_loss(metric, f"{losses.dtype} of shape {losses.shape} for {len(labels)} rows")
    return _within_bound(metric, losses.astype(np.float64, copy=False), outputs, labels)


def bounded_losses(metric: Metric, outputs: Sequence[float | None], labels: Sequence[float]) -> list[float]:
    """What each answer cost a judge; no answer, and an answer that is not a number, cost the bound.

    >>> from everloop.evaluation.metric import get_metric
    >>> bounded_losses(get_metric("brier"), [0.25, None, float("nan")], [1.0, 1.0, 0.0])
    [0.5625, 1.0, 1.0]
    """
    truth = _call(metric, _floats, labels)
    if not np.isfinite(truth).all():
        raise InvalidInput("a label is no number.", next_step="send finite numbers.")
    answers = _call(metric, _floats, [np.nan if output is None else output for output in outputs])
    known = np.isfinite(answers)
    costs = np.full(len(truth), worst_loss(metric))
    if known.any():  # of no rows a user's function need not know what to say
        costs[known] = _one_by_one(metric, answers[known], truth[known])
    return costs.tolist()


def _one_by_one(metric: Metric, outputs: Floats, labels: Floats) -> Floats:
    """By the metric's `loss` of one row, if it has one."""
    loss = metric.loss
    if loss is None:
        return row_losses(metric, outputs, labels)
    pairs = zip(outputs.tolist(), labels.tolist(), strict=True)
    losses = _call(metric, _floats, [_call(metric, loss, output, label) for output, label in pairs])
    return _within_bound(metric, losses, outputs, labels)


def _floats(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)


def _within_bound(metric: Metric, losses: Floats, outputs: Floats, labels: Floats) -> Floats:
    low, high = (-np.inf, np.inf) if metric.bound is None else (0.0, metric.bound * (1 + _ROUNDING))
    wrong = np.flatnonzero(~(np.isfinite(losses) & (losses >= low) & (losses <= high)))
    if len(wrong):
        row = wrong[0]
        beyond = "" if metric.bound is None else f", which is not from 0 to {metric.bound:g}"
        raise _bad_loss(
            metric, f"{losses[row]:g} for output {outputs[row]:g} and label {labels[row]:g}{beyond}"
        )
    return losses if metric.bound is None else np.minimum(losses, metric.bound)


def _bad_loss(metric: Metric, got: str) -> InvalidInput:
    return InvalidInput(
        f"the losses of metric {metric.name} are {got}.",
        next_step="let its function return an array with one finite number for each row, none above its bound.",
    )


def _told(metric: Metric, found: object) -> Estimate | None:
    """What a user's function estimated; what is no number is not known."""
    if found is None:
        return None
    if not isinstance(found, Estimate):
        raise InvalidInput(
            f"metric {metric.name} estimated {shown(found)}, which is no Estimate.",
            next_step="let its functions return ev.Estimate(value=…, low=…, high=…), or None.",
        )
    return None if np.isnan([found.value, found.low, found.high]).any() else found


def _call(metric: Metric, function: Callable[..., T], *arguments: object) -> T:
    # Each function gets arrays of its own: one that changes them in place must change no other metric, nor the user's rows.
    own = [one.copy() if isinstance(one, np.ndarray) else one for one in arguments]
    try:
        return function(*own)
    except EverloopError:
        raise
    except (Exception, SystemExit) as error:  # a user's function may fail in any way
        raise InvalidInput(
            f"metric {metric.name} cannot be computed: {shown(error)}.",
            next_step="mend its function; it gets the outputs and the labels as two arrays, a value for each row.",
        ) from error


def _known(found: Mapping[str, Estimate | None]) -> dict[str, Estimate]:
    return {name: value for name, value in found.items() if value is not None}
