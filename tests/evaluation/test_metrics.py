"""Metrics against references that are slow and cannot be misread."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from everloop.errors import InvalidInput
from everloop.evaluation.binary import auc, auc_difference, auc_estimate, binary
from everloop.evaluation.measure import evaluate_metrics, mean_estimate, row_losses
from everloop.evaluation.metric import METRICS

# Few distinct scores, so that ties are the rule and not the exception.
ROWS = st.lists(st.tuples(st.integers(0, 8).map(lambda n: n / 8), st.integers(0, 1)), min_size=1, max_size=40)


def _both_classes(rows: list[tuple[float, int]], each: int = 1) -> tuple[list[float], list[int]]:
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    assume(min(labels.count(0), labels.count(1)) >= each)
    return scores, labels


@given(ROWS)
def test_auc_counts_every_pair_of_a_positive_and_a_negative(rows: list[tuple[float, int]]) -> None:
    """AUC is the share of (positive, negative) pairs in the right order, a tie counting half, to the last bit."""
    scores, labels = _both_classes(rows)
    positives = [score for score, label in rows if label]
    negatives = [score for score, label in rows if not label]
    halves = sum(2 * (p > n) + (p == n) for p in positives for n in negatives)
    assert auc(scores, labels) == halves / (2 * len(positives) * len(negatives))


@given(ROWS)
def test_losses_are_what_each_row_costs(rows: list[tuple[float, int]]) -> None:
    """Log loss clips each probability, at 1e-6 or where a judge needs a worst case; Brier is the squared error."""
    sample = binary([score for score, _ in rows], [label for _, label in rows])
    for name, clip in (("log_loss", 1e-6), ("log_loss_capped", 0.01)):
        costs = [-math.log(min(max(p if y else 1 - p, clip), 1 - clip)) for p, y in rows]
        assert row_losses(METRICS[name], *sample).tolist() == pytest.approx(costs)
    assert row_losses(METRICS["brier"], *sample).tolist() == [(p - y) ** 2 for p, y in rows]


@given(ROWS)
def test_turning_labels_and_scores_around_changes_no_auc(rows: list[tuple[float, int]]) -> None:
    """Whichever class is called positive, the AUC and its interval are the same."""
    scores, labels = _both_classes(rows, each=2)
    there = auc_estimate(*binary(scores, labels))
    back = auc_estimate(*binary([1 - s for s in scores], [1 - y for y in labels]))
    assert there is not None and back is not None
    assert (there.value, there.low, there.high) == pytest.approx((back.value, back.low, back.high))


def _drawn(seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.beta(2, 5, size=rows)
    noisy = np.clip(truth + rng.normal(0, 0.15, size=rows), 0, 1).round(2)
    return truth.round(2), noisy, (rng.uniform(size=rows) < truth).astype(float)


def test_delong_agrees_with_the_bootstrap() -> None:
    """The widths of DeLong's intervals, alone and paired, are within 12 % of those from resampled rows."""
    first, second, labels = _drawn(3)
    rng = np.random.default_rng(0)
    picks = [rng.integers(0, len(labels), len(labels)) for _ in range(1_500)]
    alone = [auc(first[pick], labels[pick]) for pick in picks]
    paired = [a - auc(second[pick], labels[pick]) for a, pick in zip(alone, picks, strict=True)]
    one = auc_estimate(first, labels)
    gap = auc_difference(first, second, labels)
    assert one is not None and gap is not None
    for estimate, resampled in ((one, alone), (gap, paired)):
        assert (estimate.high - estimate.low) / 2 / 1.96 == pytest.approx(np.std(resampled), rel=0.12)


def test_intervals_hold_as_often_as_they_say() -> None:
    """Of 95 % intervals over fresh samples, 92 to 98 % hold the value of a sample that is a thousand times larger."""
    first, second, labels = _drawn(1, rows=400_000)
    true_auc = auc(first, labels)
    true_gap = true_auc - auc(second, labels)
    true_loss = float(row_losses(METRICS["log_loss"], first, labels).mean())
    held = np.zeros(3)
    for start in range(0, 400_000, 1_000):
        rows = slice(start, start + 400)
        found = (
            auc_estimate(first[rows], labels[rows]),
            auc_difference(first[rows], second[rows], labels[rows]),
            mean_estimate(row_losses(METRICS["log_loss"], first[rows], labels[rows])),
        )
        for place, (estimate, true) in enumerate(zip(found, (true_auc, true_gap, true_loss), strict=True)):
            assert estimate is not None
            held[place] += estimate.low <= true <= estimate.high
    assert ((held / 400 > 0.92) & (held / 400 < 0.98)).all()


def test_a_scorer_is_no_better_than_itself() -> None:
    """The difference of a scorer from itself is zero with no width, also where scores tie."""
    _, noisy, labels = _drawn(5)
    gap = auc_difference(noisy, noisy, labels)
    assert gap is not None
    assert (gap.value, gap.low, gap.high) == (0.0, 0.0, 0.0)


def test_one_class_has_no_auc() -> None:
    """Where all labels are alike AUC is not known; the losses still are."""
    found = evaluate_metrics([0.1, 0.2, 0.3], [0, 0, 0])
    assert "auc" not in found
    assert found["brier"].value == pytest.approx(0.14 / 3)
    with pytest.raises(InvalidInput, match="both classes"):
        auc([0.1, 0.2], [1, 1])


@pytest.mark.parametrize(
    ("scores", "labels", "why"),
    [
        ([0.5, math.nan], [0, 1], "not a probability"),
        ([0.5, 1.01], [0, 1], "not a probability"),
        ([0.5, math.inf], [0, 1], "not a probability"),
        ([0.5, 0.5], [0, 2], "neither 0 nor 1"),
        ([0.5, 0.5], [0, math.nan], "neither 0 nor 1"),
        ([0.5], [0, 1], "do not go with"),
        ([[0.5]], [[1]], "do not go with"),
        ([], [], "no rows"),
    ],
)
def test_what_is_no_probability_or_no_label_is_refused(
    scores: list[float], labels: list[float], why: str
) -> None:
    """A metric of nonsense would be a number, so nonsense is refused by name."""
    with pytest.raises(InvalidInput, match=why):
        evaluate_metrics(scores, labels)


def test_what_is_no_number_is_refused() -> None:
    """In a sentence, so that a monitor over such answers says that it cannot tell."""
    for scores, labels in ((["a"], [1]), ([0.5], [None]), ([[0.1], [0.2, 0.3]], [0, 1])):
        with pytest.raises(InvalidInput):
            binary(scores, labels)  # type: ignore[arg-type]
