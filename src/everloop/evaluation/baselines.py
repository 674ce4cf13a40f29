"""The simple models that a candidate must beat before anybody needs it; one line of `BASELINES` each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from everloop.errors import InvalidInput
from everloop.models.model import Model
from everloop.models.rows import labels_of
from everloop.models.signature import categorical_places, infer_signature, matrix

_FEWEST_OF_A_LEVEL = 50  # rarer levels of a category share one weight


def constant(rows: pa.Table, *, label: str, inputs: Sequence[str]) -> Model:
    """Always the share of positives in these rows.

    >>> rows = pa.table({"visits": [1, 2, 3, 4], "left": [0, 1, 1, 1]})
    >>> constant(rows, label="left", inputs=["visits"]).predict(rows).tolist()
    [0.75, 0.75, 0.75, 0.75]
    """
    signature = infer_signature(rows, inputs=inputs)
    estimator = DummyClassifier(strategy="prior")
    return Model(estimator.fit(matrix(signature, rows), labels_of(rows, label)), signature)


def logistic(
    rows: pa.Table, *, label: str, inputs: Sequence[str], most_rows: int = 50_000, seed: int = 0
) -> Model:
    """Logistic regression on scaled numbers and one-hot categories, with gaps filled by the median.

    A baseline need not be perfect: from more than `most_rows` rows it takes a sample, drawn with `seed`.

    >>> rows = pa.table({"visits": [1, 2, 3, 4] * 10, "left": [1, 1, 0, 0] * 10})
    >>> logistic(rows, label="left", inputs=["visits"]).predict(rows)[:4].round(1).tolist()
    [1.0, 0.8, 0.2, 0.0]
    """
    signature = infer_signature(rows, inputs=inputs)
    if rows.num_rows > most_rows:
        chosen = np.random.default_rng(seed).choice(rows.num_rows, most_rows, replace=False)
        rows = rows.take(pa.array(np.sort(chosen)))
    labels = labels_of(rows, label)
    if labels.min() == labels.max():
        raise InvalidInput(
            f"every row has the same label {label!r}; a logistic regression needs both.",
            next_step="take `constant` as the baseline, or more rows.",
        )
    estimator = _estimator(categorical_places(signature), len(inputs))
    return Model(estimator.fit(matrix(signature, rows), labels), signature)


def _estimator(categories: Sequence[int], width: int) -> Pipeline:
    numbers = [place for place in range(width) if place not in set(categories)]
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=_FEWEST_OF_A_LEVEL)
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(fill, StandardScaler()), numbers),
            ("categories", encode, list(categories)),
        ]
    )
    return make_pipeline(prepare, LogisticRegression(max_iter=200, tol=1e-3))


Baseline: TypeAlias = Callable[[pa.Table, str, Sequence[str], int], Model]
"""From rows, the label, the inputs and a seed to a model."""

BASELINES: Mapping[str, Baseline] = {
    "constant": lambda rows, label, inputs, _seed: constant(rows, label=label, inputs=inputs),
    "logistic": lambda rows, label, inputs, seed: logistic(rows, label=label, inputs=inputs, seed=seed),
}
"""By the name that an evaluation and its gate call them."""
