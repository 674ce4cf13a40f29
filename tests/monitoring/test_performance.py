"""Performance from late labels, and when it counts as decay."""

import math

import msgspec
import numpy as np
import pytest

from everloop.errors import InvalidInput
from everloop.evaluation.measure import evaluate_metrics
from everloop.evaluation.records import Estimate
from everloop.monitoring.performance import Performance, decayed, performance


def _live(rows: int, seed: int, *, shift: float = 0.0) -> Performance:
    rng = np.random.default_rng(seed)
    truth = rng.beta(2, 5, size=rows)
    labels = rng.uniform(size=rows) < truth
    return performance(np.clip(truth + shift, 0, 1), labels, predictions=rows * 2)


def test_metrics_are_those_of_the_evaluation_and_coverage_is_of_all_predictions() -> None:
    """Live metrics come from the same code as the gate's; unlabelled predictions count in the coverage only."""
    scores, labels = [0.2, 0.7, 0.4, 0.9], [0, 1, 1, 0]
    live, offline = performance(scores, labels, predictions=16), evaluate_metrics(scores, labels)
    assert live.metrics == offline
    assert set(offline) == {"log_loss", "log_loss_capped", "brier", "auc"}
    assert (live.coverage, live.labels, live.predictions) == (0.25, 4, 16)
    assert msgspec.json.decode(msgspec.json.encode(live), type=Performance) == live


@pytest.mark.parametrize("labels", [[], [1]])
def test_without_labels_nothing_is_known(labels: list[int]) -> None:
    """No label, or one, gives no metric and no decay, and says so."""
    live = performance([0.5] * len(labels), labels, predictions=10)
    assert live.metrics == {}
    answer = decayed(_live(500, 1).metrics["log_loss"], live.metrics.get("log_loss"), 0.0)
    assert not answer.passed
    assert answer.because.startswith("not known")


def test_no_predictions_have_no_coverage() -> None:
    """An empty window has no coverage rather than a coverage of zero or one."""
    assert performance([], [], predictions=0).coverage is None


def test_impossible_counts_are_refused() -> None:
    """More labels than predictions, or scores without labels, mean that the join went wrong."""
    with pytest.raises(InvalidInput):
        performance([0.5, 0.5], [0, 1], predictions=1)
    with pytest.raises(InvalidInput):
        performance([0.5, 0.5], [1], predictions=9)


def test_decay_needs_both_size_and_certainty() -> None:
    """A large change in few labels and a certain change below the margin are quiet; a large and certain one is heard."""
    reference = Estimate(value=0.40, low=0.39, high=0.41)
    lucky = Estimate(value=0.50, low=0.30, high=0.70)
    small = Estimate(value=0.42, low=0.415, high=0.425)
    large = Estimate(value=0.50, low=0.48, high=0.52)
    assert [decayed(reference, live, 0.05).passed for live in (lucky, small, large)] == [False, False, True]


def test_for_auc_lower_is_worse() -> None:
    """The direction of a metric is the caller's to say."""
    then, now = Estimate(value=0.8, low=0.79, high=0.81), Estimate(value=0.7, low=0.68, high=0.72)
    assert decayed(then, now, 0.05, higher_is_better=True).passed
    assert not decayed(then, now, 0.05).passed


def test_nan_is_no_decay_and_no_crash() -> None:
    """A metric that is not a number answers no."""
    lost = Estimate(value=math.nan, low=math.nan, high=math.nan)
    assert not decayed(lost, lost, 0.0).passed


def test_decay_is_found_when_it_is_there_and_rarely_when_it_is_not() -> None:
    """Probabilities 0.25 too high are found in every window; equal windows are called decayed in at most 3 of 100."""
    reference = _live(2_000, 0).metrics["log_loss"]
    found = sum(
        decayed(reference, _live(600, seed, shift=0.25).metrics["log_loss"], 0.03).passed
        for seed in range(1, 51)
    )
    cried = sum(
        decayed(
            _live(2_000, 1_000 + seed).metrics["log_loss"], _live(600, 9_000 + seed).metrics["log_loss"], 0.03
        ).passed
        for seed in range(100)
    )
    assert found == 50
    assert cried <= 3
