"""Metrics of a binary classifier's probabilities; ties and edges are taken exactly. Called by the rows of `METRICS`."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from everloop.errors import InvalidInput
from everloop.evaluation.records import Estimate

Floats: TypeAlias = npt.NDArray[np.float64]


def auc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Chance that a positive scores above a negative, a tie counting half; exact, because it counts pairs in integers.

    >>> auc([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    0.875
    """
    sample = binary(scores, labels)
    _, place = np.unique(sample.scores, return_inverse=True)
    positives, negatives = (
        np.bincount(place[sample.labels == side], minlength=place.max() + 1) for side in (1, 0)
    )
    if not positives.sum() or not negatives.sum():
        raise InvalidInput("AUC needs rows of both classes.", next_step="take more rows, or the log loss.")
    below = np.cumsum(negatives) - negatives
    halves = int(positives @ (2 * below + negatives))
    return halves / (2 * int(positives.sum()) * int(negatives.sum()))


class Binary(NamedTuple):
    """Probabilities and 0/1 labels that have been checked against each other."""

    scores: Floats
    labels: Floats


def binary(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Binary:
    """The same values as arrays of float64; InvalidInput for anything that is not a probability, or not 0 or 1."""
    try:
        checked = Binary(np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"scores and labels are no numbers: {error}.", next_step="give one number of each for every row."
        ) from None
    if checked.scores.ndim != 1 or checked.scores.shape != checked.labels.shape:
        raise InvalidInput(
            f"{checked.scores.shape} scores do not go with {checked.labels.shape} labels.",
            next_step="give one score and one label for each row.",
        )
    if not len(checked.scores):
        raise InvalidInput(
            "there are no rows to evaluate.", next_step="take a longer window, or wait for labels."
        )
    if not ((checked.scores >= 0) & (checked.scores <= 1)).all():
        raise InvalidInput("a score is not a probability.", next_step="give numbers from 0 to 1, and no NaN.")
    if not np.isin(checked.labels, (0.0, 1.0)).all():
        raise InvalidInput("a label is neither 0 nor 1.", next_step="leave out rows that have no label.")
    return checked


def log_losses(scores: Floats, labels: Floats, clip: float) -> Floats:
    """The negative log likelihood of each row, with probabilities held within [clip, 1 - clip].

    >>> log_losses(np.array([0.5, 1.0]), np.array([0.0, 0.0]), 1e-6).round(2).tolist()
    [0.69, 13.82]
    """
    right = np.where(labels == 1, scores, 1 - scores)
    losses: Floats = -np.log(np.clip(right, clip, 1 - clip))
    return losses


def brier_losses(scores: Floats, labels: Floats) -> Floats:
    """The squared distance between probability and label of each row.

    >>> brier_losses(np.array([0.5, 1.0]), np.array([0.0, 1.0])).tolist()
    [0.25, 0.0]
    """
    return (scores - labels) ** 2


def auc_estimate(scores: Floats, labels: Floats, confidence: float = 0.95) -> Estimate | None:
    """AUC with the interval of DeLong, DeLong & Clarke-Pearson (1988), cut at 0 and 1.

    None unless there are two rows of each class. Like every interval of that kind it has no width for a perfect scorer.
    """
    placed = _placements(scores, labels)
    if placed is None:
        return None
    value = auc(scores, labels)
    low, high = _normal(value, _variance(*placed), confidence)
    return Estimate(value=value, low=max(low, 0.0), high=min(high, 1.0))


def auc_difference(
    scores: Floats, others: Floats, labels: Floats, confidence: float = 0.95
) -> Estimate | None:
    """AUC of the first scores less that of the second on the same rows, with DeLong's interval for correlated curves."""
    one, other = _placements(scores, labels), _placements(others, labels)
    if one is None or other is None:
        return None
    value = auc(scores, labels) - auc(others, labels)
    low, high = _normal(value, _variance(one[0] - other[0], one[1] - other[1]), confidence)
    return Estimate(value=value, low=max(low, -1.0), high=min(high, 1.0))


def _placements(scores: Floats, labels: Floats) -> tuple[Floats, Floats] | None:
    """For each positive the share of negatives below it, for each negative the share of positives above it."""
    positives = scores[labels == 1]
    negatives = scores[labels == 0]
    if len(positives) < 2 or len(negatives) < 2:
        return None
    return _share_below(positives, negatives), 1 - _share_below(negatives, positives)


def _share_below(values: Floats, others: Floats) -> Floats:
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return below / (2 * len(others))


def _variance(by_positive: Floats, by_negative: Floats) -> float:
    return float(by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative))


def _normal(value: float, variance: float, confidence: float) -> tuple[float, float]:
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * variance**0.5
    return value - half, value + half
