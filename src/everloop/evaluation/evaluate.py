"""Candidate, champion and baselines on rows that none of them has seen: what a pipeline's last step gives to the gate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from everloop.errors import EverloopError, InvalidInput, Unsupported, shown
from everloop.evaluation.baselines import BASELINES
from everloop.evaluation.compare import compare
from everloop.evaluation.metric import Metric
from everloop.evaluation.records import Evaluation
from everloop.models.model import Model
from everloop.models.rows import as_table, column_of, labels_of
from everloop.records.models import Task
from everloop.records.names import as_names


def evaluate(
    candidate: Model,
    rows: Any,
    *,
    champion: Model | None = None,
    baselines: str | Sequence[str] = (),
    train: Any = None,
    slices: str | Sequence[str] = (),
    metrics: Iterable[Metric] = (),
    seed: int = 0,
    confidence: float = 0.95,
) -> Evaluation:
    """How the candidate does on rows that it has not seen, against the champion and the baselines on the very same rows.

    All are measured by every row of `METRICS` and by the `metrics` of your own. The candidate brings its own label and
    time. The baselines, `constant` and `logistic`, are trained on `train`, the rows that the candidate was trained on;
    `slices` are columns whose levels are looked at one by one. A champion that cannot be judged on these rows, because it
    has seen them for example, is left out, and `champion_left_out` says why: nothing about a champion keeps its successor
    from being evaluated, but no gate will call the successor no worse.

    >>> from datetime import UTC, datetime, timedelta
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from everloop import fit, split_by_time
    >>> days = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(200)]
    >>> visits = [n % 7 for n in range(200)]
    >>> rows = pa.table({"day": days, "visits": visits, "left": [n < 3 for n in visits]})
    >>> train, test = split_by_time(rows, "day", test=timedelta(days=50))
    >>> candidate = fit(DecisionTreeClassifier(), train, inputs=["visits"], label="left", time="day")
    >>> found = evaluate(candidate, test, baselines="constant", train=train)
    >>> found.rows, list(found.against_baselines), found.champion
    (50, ['constant'], None)
    >>> champion = fit(DecisionTreeClassifier(), rows, inputs=["visits"], label="left", time="day")
    >>> evaluate(candidate, test, champion=champion).champion_left_out[:42]
    'rows from 2026-05-31T00:00:00+00:00 on wer'
    """
    for one in (candidate, champion):
        if not isinstance(one, Model | None):
            raise InvalidInput(
                f"{shown(one)} is no Model.", next_step="give what ev.fit returned, or ev.Model(…)."
            )
    if candidate.task is not Task.BINARY:
        raise Unsupported(
            f"a model of the task {candidate.task} cannot be evaluated yet.",
            next_step="train one that tells true from false.",
        )
    table, label = as_table(rows), _label(candidate)
    scores = candidate.predict_unseen(table)
    labels = labels_of(table, label, candidate.task)
    measure = partial(compare, labels=labels, metrics=tuple(metrics), confidence=confidence)
    of_champion, left_out = _judged(champion, candidate, table, measure)
    found = measure(
        scores,
        champion_scores=of_champion,
        baselines={
            name: model.predict(table) for name, model in _trained(candidate, baselines, train, seed).items()
        },
        slices={name: column_of(table, name, "slice").to_pylist() for name in as_names(slices)},
    )
    return replace(found, champion_left_out=left_out)


def _label(candidate: Model) -> str:
    if candidate.label is None:
        raise InvalidInput(
            "the candidate does not say which column it learned to tell.",
            next_step="make it with ev.fit(…, label=…), or give Model(…, label=…).",
        )
    return candidate.label


def _judged(
    champion: Model | None, candidate: Model, rows: pa.Table, measure: Callable[[npt.ArrayLike], Evaluation]
) -> tuple[npt.NDArray[Any] | None, str]:
    """The champion's scores, or why there are none of a champion that there is."""
    if champion is None:
        return None, ""
    if champion.label not in (None, candidate.label) or champion.task != candidate.task:
        return (
            None,
            f"it tells {champion.label!r} ({champion.task}), the candidate {candidate.label!r} ({candidate.task}).",
        )
    try:
        # One that was made before models knew their time is asked about the candidate's.
        scores = champion.predict_unseen(rows, time=champion.time or candidate.time)
        measure(scores)  # by itself, so that answers which no metric can read are its own fault
        return scores, ""
    except EverloopError as error:
        return None, error.reason
    except Exception as error:  # noqa: BLE001 - whatever a library raises over an old model is no fault of the new one
        return None, f"it cannot be asked: {error!r}."


def _trained(candidate: Model, baselines: str | Sequence[str], train: Any, seed: int) -> dict[str, Model]:
    names = as_names(baselines)
    for name in names:
        if name not in BASELINES:
            raise InvalidInput(
                f"there is no baseline named {name!r}.", next_step=f"use one of {', '.join(BASELINES)}."
            )
    if names and train is None:
        raise InvalidInput(
            f"the baseline {names[0]!r} has no rows to be trained on.",
            next_step="give train=, the rows that the candidate was trained on.",
        )
    label, inputs = _label(candidate), candidate.compiled.names
    return {name: BASELINES[name](as_table(train), label, inputs, seed) for name in names}
