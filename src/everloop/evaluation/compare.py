"""Candidate against champion and baselines, on the same rows, paired, over slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from everloop.errors import InvalidInput
from everloop.evaluation.measure import Scored, differences, estimate, estimates, scored
from everloop.evaluation.metric import Metric, metrics_of
from everloop.evaluation.records import Evaluation, SliceResult


def compare(
    candidate_scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    champion_scores: npt.ArrayLike | None = None,
    baselines: Mapping[str, npt.ArrayLike] | None = None,
    slices: Mapping[str, Iterable[object]] | None = None,
    metrics: Iterable[Metric] = (),
    confidence: float = 0.95,
    min_slice_rows: int = 100,
) -> Evaluation:
    """How the candidate does, and by how much better or worse than each of the others it does on the very same rows.

    It is measured by every row of `METRICS`, and by the `metrics` of your own. Intervals are two-sided and take rows as
    independent of each other. Those of the slices are widened by Bonferroni's rule, so that with the given confidence they
    hold for all levels of all slices at once; a level with fewer rows than `min_slice_rows` is listed and not judged.

    >>> rng = np.random.default_rng(7)
    >>> truth = rng.uniform(size=2_000)
    >>> labels = rng.uniform(size=2_000) < truth
    >>> late = compare(truth, labels, champion_scores=np.full(2_000, 0.5), slices={"half": ["a", "b"] * 1_000})
    >>> late.against_champion["log_loss"].high < 0, [level.rows for level in late.slices]
    (True, [1000, 1000])
    """
    if not 0 < confidence < 1:
        raise InvalidInput(
            f"a confidence of {confidence} is not between 0 and 1.",
            next_step="give a share, for example 0.95.",
        )
    rows = metrics_of(own=metrics)
    candidate = scored(candidate_scores, labels, rows)
    champion = None if champion_scores is None else scored(champion_scores, labels, rows)
    others = {name: scored(scores, labels, rows) for name, scores in (baselines or {}).items()}
    return Evaluation(
        rows=len(candidate.labels),
        positives=int(candidate.labels.sum()),
        confidence=confidence,
        candidate=estimates(candidate, rows, confidence),
        champion=None if champion is None else estimates(champion, rows, confidence),
        baselines={name: estimates(other, rows, confidence) for name, other in others.items()},
        against_champion=None if champion is None else differences(candidate, champion, rows, confidence),
        against_baselines={
            name: differences(candidate, other, rows, confidence) for name, other in others.items()
        },
        slices=_slices(candidate, champion, slices or {}, rows, confidence, min_slice_rows),
        metric_digests={metric.name: metric.digest for metric in rows if metric.digest},
    )


def _slices(
    candidate: Scored,
    champion: Scored | None,
    slices: Mapping[str, Iterable[object]],
    metrics: Iterable[Metric],
    confidence: float,
    min_rows: int,
) -> tuple[SliceResult, ...]:
    levels = [
        found for column, values in slices.items() for found in _levels(column, values, len(candidate.labels))
    ]
    # Two rows are the fewest that have a spread.
    fewest = max(min_rows, 2)
    judged = sum(len(rows) >= fewest for _, _, rows in levels)
    widened = 1 - (1 - confidence) / max(judged, 1)
    return tuple(
        SliceResult(
            column=column,
            level=level,
            rows=len(rows),
            metrics=_values(candidate.only(rows), metrics, confidence),
            differences={}
            if champion is None or len(rows) < fewest
            else differences(candidate.only(rows), champion.only(rows), metrics, widened),
        )
        for column, level, rows in levels
    )


def _values(level: Scored, metrics: Iterable[Metric], confidence: float) -> dict[str, float]:
    """A mean is known from one row on, and the rest when its metric can tell it."""
    means = {name: float(losses.mean()) for name, losses in level.losses.items()}
    rest = [metric for metric in metrics if metric.name not in means]
    found = {metric.name: estimate(metric, level, confidence) for metric in rest}
    return means | {name: one.value for name, one in found.items() if one is not None}


def _levels(column: str, values: Iterable[object], rows: int) -> list[tuple[str, str, npt.NDArray[np.intp]]]:
    """Each level of the column in alphabetical order, with the places of its rows."""
    words = [str(value) for value in values]
    if len(words) != rows:
        raise InvalidInput(
            f"the slice {column!r} has {len(words)} values for {rows} rows.",
            next_step="give a value for each row, in the order of the scores.",
        )
    named, place = np.unique(np.array(words), return_inverse=True)
    return [(column, str(level), np.flatnonzero(place == number)) for number, level in enumerate(named)]
