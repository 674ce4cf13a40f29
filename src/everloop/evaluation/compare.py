"""Candidate against champion and baselines, on the same rows, paired, over slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from everloop.errors import InvalidInput
from everloop.evaluation.metrics import (
    Binary,
    auc_difference,
    binary,
    evaluate,
    log_losses,
    mean_estimate,
)
from everloop.evaluation.records import Difference, Evaluation, SliceResult


def compare(
    candidate_scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    champion_scores: npt.ArrayLike | None = None,
    baselines: Mapping[str, npt.ArrayLike] | None = None,
    slices: Mapping[str, Iterable[object]] | None = None,
    confidence: float = 0.95,
    min_slice_rows: int = 100,
) -> Evaluation:
    """How the candidate does, and by how much better or worse than each of the others it does on the very same rows.

    Intervals are two-sided and take rows as independent of each other. Those of the slices are widened by Bonferroni's
    rule, so that with the given confidence they hold for all levels of all slices at once; a level with fewer rows than
    `min_slice_rows` is listed and not judged.

    >>> rng = np.random.default_rng(7)
    >>> truth = rng.uniform(size=2_000)
    >>> labels = rng.uniform(size=2_000) < truth
    >>> late = compare(truth, labels, champion_scores=np.full(2_000, 0.5), slices={"half": ["a", "b"] * 1_000})
    >>> late.against_champion.log_loss.high < 0, [level.rows for level in late.slices]
    (True, [1000, 1000])
    """
    if not 0 < confidence < 1:
        raise InvalidInput(f"a confidence of {confidence} is not between 0 and 1.")
    candidate = binary(candidate_scores, labels)
    champion = None if champion_scores is None else binary(champion_scores, labels)
    others = {name: binary(scores, labels) for name, scores in (baselines or {}).items()}
    return Evaluation(
        rows=len(candidate.labels),
        positives=int(candidate.labels.sum()),
        confidence=confidence,
        candidate=evaluate(*candidate, confidence=confidence),
        champion=None if champion is None else evaluate(*champion, confidence=confidence),
        baselines={name: evaluate(*other, confidence=confidence) for name, other in others.items()},
        against_champion=None if champion is None else _difference(candidate, champion, confidence),
        against_baselines={name: _difference(candidate, other, confidence) for name, other in others.items()},
        slices=_slices(candidate, champion, slices or {}, confidence, min_slice_rows),
    )


def _difference(candidate: Binary, other: Binary, confidence: float) -> Difference:
    return Difference(
        log_loss=mean_estimate(log_losses(candidate) - log_losses(other), confidence),
        auc=auc_difference(candidate, other, confidence),
    )


def _slices(
    candidate: Binary,
    champion: Binary | None,
    slices: Mapping[str, Iterable[object]],
    confidence: float,
    min_rows: int,
) -> tuple[SliceResult, ...]:
    losses = log_losses(candidate)
    extra = None if champion is None else losses - log_losses(champion)
    levels = [found for column, values in slices.items() for found in _levels(column, values, len(losses))]
    # Two rows are the fewest that have a spread.
    judged = sum(len(rows) >= max(min_rows, 2) for _, _, rows in levels)
    widened = 1 - (1 - confidence) / max(judged, 1)
    return tuple(
        SliceResult(
            column=column,
            level=level,
            rows=len(rows),
            log_loss=float(losses[rows].mean()),
            difference=None
            if extra is None or len(rows) < max(min_rows, 2)
            else mean_estimate(extra[rows], widened),
        )
        for column, level, rows in levels
    )


def _levels(column: str, values: Iterable[object], rows: int) -> list[tuple[str, str, npt.NDArray[np.intp]]]:
    """Each level of the column in alphabetical order, with the places of its rows."""
    words = [str(value) for value in values]
    if len(words) != rows:
        raise InvalidInput(f"the slice {column!r} has {len(words)} values for {rows} rows.")
    named, place = np.unique(np.array(words), return_inverse=True)
    return [(column, str(level), np.flatnonzero(place == number)) for number, level in enumerate(named)]
