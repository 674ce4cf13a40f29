"""From an estimator and rows to a model that knows what it takes, what it tells, and until when it has seen the world."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from everloop.errors import InvalidInput, Unsupported
from everloop.features.views import FeatureService
from everloop.models.flavors import FLAVORS
from everloop.models.flavors.flavor import Flavor
from everloop.models.model import Model
from everloop.models.rows import as_table, column_of, labels_of, time_span
from everloop.models.signature import categorical_places, infer_signature, matrix
from everloop.records.models import FeaturePin, Signature, Task
from everloop.storage.codec import digest_of

Floats: TypeAlias = npt.NDArray[np.float64]

_FITTING: Mapping[Task, Callable[[Any], bool]] = {
    Task.BINARY: is_classifier,
    Task.REGRESSION: is_regressor,
}
"""Which estimators learn a task."""


def fit(
    estimator: Any,
    rows: Any,
    *,
    inputs: Sequence[str],
    label: str,
    time: str | None = None,
    valid: Any = None,
    weight: str | None = None,
    optional: Sequence[str] = (),
    features: FeatureService | None = None,
    task: Task | str | None = None,
) -> Model:
    """Fit a copy of an estimator on rows, and keep with it what it takes, what it tells and what it has seen.

    The estimator is LightGBM's (`LGBMClassifier`, whose booster is kept) or scikit-learn's, a `Pipeline` too. It gets the
    matrix of the inputs: a null is NaN, a text its category's code, of which LightGBM is told. The label is true or false,
    or 0 or 1; say `task="regression"` where it is a number to be told.

    `time` is the column that says when a row happened; the newest is the model's `trained_until`, so that it is never
    judged on rows that it has seen. `valid` are rows to stop early on, which count as seen; `weight` is a column. An
    input that lacks no value here may lack none later, unless it is in `optional` or the feature service makes it; the
    model remembers the service.

    >>> from lightgbm import LGBMClassifier
    >>> rows = pa.table({"plan": ["basic", "team"] * 20, "visits": range(40), "left": [True, False] * 20})
    >>> estimator = LGBMClassifier(n_estimators=5, min_child_samples=5, verbosity=-1)
    >>> model = fit(estimator, rows, inputs=["plan", "visits"], label="left")
    >>> model.predict(rows).round(1)[:2].tolist(), model.flavor, model.label
    ([0.7, 0.3], 'lightgbm', 'left')
    """
    flavor, learned = _flavor(estimator), _task(estimator, label, task)
    seen = as_table(rows)
    if label in inputs:
        raise InvalidInput(
            f"{label!r} is the label and cannot be an input.", next_step="take it out of the inputs."
        )
    signature = infer_signature(
        seen, inputs=inputs, output=label, optional=_optional(inputs, optional, features), task=learned
    )
    train = _Rows.of(seen, signature, label, weight)
    _refuse_one_label(train.labels, label, learned)
    held = None if valid is None else _Rows.of(as_table(valid), signature, label, weight)
    extra = _extra(estimator, signature, train, held)
    fitted = clone(estimator).fit(train.matrix, train.labels, **extra)
    return Model(
        flavor.kept(fitted),
        signature,
        trained_until=None if time is None else _newest(time, train, held),
        label=label,
        time=time,
        features=None
        if features is None
        else FeaturePin(service=features.name, digest=digest_of(features.definition())),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows as an estimator takes them."""

    table: pa.Table
    matrix: Floats
    labels: npt.NDArray[Any]
    weights: Floats | None

    @classmethod
    def of(cls, table: pa.Table, signature: Signature, label: str, weight: str | None) -> _Rows:
        labels = labels_of(table, label, signature.task)
        weights = None if weight is None else _weights(table, weight)
        return cls(table, matrix(signature, table), labels, weights)


def _flavor(estimator: Any) -> Flavor:
    kind = type(estimator).__name__
    flavor = next((flavor for flavor in FLAVORS if flavor.trains(estimator)), None)
    if flavor is None:
        raise Unsupported(
            f"{kind} {estimator!r:.60} is no estimator that everloop can fit.",
            next_step="give one of scikit-learn or LightGBM, such as LGBMClassifier(); what is fitted already "
            "becomes a model with Model(estimator, infer_signature(…)).",
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return flavor
    raise InvalidInput(
        f"this {kind} is fitted already, and nobody knows on what.",
        next_step="give a new one; what you have fitted yourself becomes a model with "
        "Model(estimator, infer_signature(…), trained_until=…).",
    )


def _task(estimator: Any, label: str, task: Task | str | None) -> Task:
    try:
        learned = Task.BINARY if task is None else Task(task)
    except ValueError:
        raise InvalidInput(
            f"there is no task {task!r}.", next_step=f"use one of {', '.join(Task)}."
        ) from None
    if not _FITTING[learned](estimator):
        raise InvalidInput(
            f"{type(estimator).__name__} does not learn the task {learned} of label {label!r}.",
            next_step='take a classifier for what is true or false, a regressor and task="regression" for a number.',
        )
    return learned


def _optional(inputs: Sequence[str], optional: Sequence[str], features: FeatureService | None) -> list[str]:
    made = () if features is None else features.features
    return [*optional, *(name for name in inputs if name in made and name not in optional)]


def _refuse_one_label(labels: npt.NDArray[Any], label: str, task: Task) -> None:
    # LightGBM's wrapper would number the classes that it has seen, and answer 0 where every label was 1.
    if task is Task.BINARY and labels.min() == labels.max():
        raise InvalidInput(
            f"label {label!r} is {labels[0]} in every row, so there is nothing to learn.",
            next_step="train on rows of both kinds, or take the baseline `constant`.",
        )


def _extra(estimator: Any, signature: Signature, train: _Rows, held: _Rows | None) -> dict[str, Any]:
    """What `fit` takes besides matrix and labels, as far as this one takes it and it was given."""
    takes = inspect.signature(estimator.fit).parameters
    extra: dict[str, Any] = {}
    if "categorical_feature" in takes:
        extra["categorical_feature"] = categorical_places(signature)
    if train.weights is not None:
        extra[_weight_name(estimator, takes)] = train.weights
    return extra if held is None else extra | _held_out(estimator, takes, held)


def _weight_name(estimator: Any, takes: Mapping[str, object]) -> str:
    if isinstance(estimator, Pipeline):
        last, inner = estimator.steps[-1]
        return f"{last}__{_weight_name(inner, inspect.signature(inner.fit).parameters)}"
    if "sample_weight" not in takes:
        raise InvalidInput(
            f"{type(estimator).__name__} takes no weights.",
            next_step="leave weight out, or take another estimator.",
        )
    return "sample_weight"


def _held_out(estimator: Any, takes: Mapping[str, object], held: _Rows) -> dict[str, Any]:
    for name, arguments in _HELD_OUT.items():
        if name in takes:
            return arguments(held)
    raise InvalidInput(
        f"{type(estimator).__name__} takes no rows to stop early on.",
        next_step="leave valid out, or take an estimator that does, such as LGBMClassifier.",
    )


def _lightgbm(held: _Rows) -> dict[str, Any]:
    weights = {} if held.weights is None else {"eval_sample_weight": [held.weights]}
    return {"eval_X": held.matrix, "eval_y": held.labels} | weights


def _sklearn(held: _Rows) -> dict[str, Any]:
    weights = {} if held.weights is None else {"sample_weight_val": held.weights}
    return {"X_val": held.matrix, "y_val": held.labels} | weights


_HELD_OUT: Mapping[str, Callable[[_Rows], dict[str, Any]]] = {"eval_X": _lightgbm, "X_val": _sklearn}
"""How libraries take rows to stop early on, by the parameter of `fit` that tells them apart."""


def _weights(table: pa.Table, weight: str) -> Floats:
    column = column_of(table, weight, "weight")
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise InvalidInput(f"weight {weight!r} is of type {column.type}.", next_step="cast it to float64.")
    weights = np.asarray(column.cast(pa.float64(), safe=False).to_numpy())
    if column.null_count or not (np.isfinite(weights) & (weights >= 0)).all():
        raise InvalidInput(
            f"weight {weight!r} is not a number of 0 or more in every row.",
            next_step="fill it, or leave those rows out.",
        )
    return weights


def _newest(time: str, train: _Rows, held: _Rows | None) -> datetime | None:
    """The newest moment that training has seen; rows to stop early on have been seen, too."""
    spans = [time_span(rows.table, time) for rows in (train, held) if rows is not None]
    return max((span[1] for span in spans if span is not None), default=None)
