"""A fitted estimator together with its signature: what training makes and the server answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from everloop.errors import InvalidInput
from everloop.models.compiled import Columns, CompiledSignature
from everloop.models.flavors import flavor_of
from everloop.models.flavors.flavor import Predict
from everloop.models.rows import time_span
from everloop.models.signature import matrix
from everloop.records.json import Json
from everloop.records.models import Datatype, FeaturePin, Signature, Task

Outputs: TypeAlias = Mapping[str, np.ndarray]
"""What a model answers: for each output of its signature an array of shape (rows, *shape)."""

_DTYPES: Mapping[Datatype, Any] = {
    Datatype.BOOL: np.bool_,
    Datatype.INT64: np.int64,
    Datatype.FP64: np.float64,
    Datatype.BYTES: np.object_,
}


@dataclass(frozen=True, eq=False)
class Model:
    """An estimator, what it takes and answers, and what it was trained on.

    Takes LightGBM boosters, scikit-learn classifiers and regressors, and ONNX models.

    >>> from sklearn.dummy import DummyClassifier
    >>> from everloop.records.models import Field
    >>> rows = pa.table({"visits": [1, 2, 3, 4], "left": [0, 1, 1, 1]})
    >>> signature = Signature(
    ...     inputs=(Field(name="visits", datatype=Datatype.INT64),),
    ...     outputs=(Field(name="left", datatype=Datatype.FP64),),
    ... )
    >>> model = Model(DummyClassifier().fit(matrix(signature, rows), [0, 1, 1, 1]), signature, label="left")
    >>> model.predict(rows).tolist(), model.task
    ([0.75, 0.75, 0.75, 0.75], <Task.BINARY: 'binary'>)
    """

    estimator: object
    signature: Signature
    trained_until: datetime | None = None
    """The newest moment that training has seen."""
    label: str | None = None
    """The column that it learned to tell."""
    time: str | None = None
    """The column that says when a row happened."""
    features: FeaturePin | None = None
    """The feature service that made its inputs."""
    facts: Mapping[str, Json] = field(default_factory=dict)
    flavor: str = field(init=False)
    compiled: CompiledSignature = field(init=False, repr=False)
    _predict: Predict = field(init=False, repr=False)
    _arrays: tuple[tuple[str, tuple[int, ...], Any], ...] = field(init=False, repr=False)
    """Of each output its name, its shape for a row and the type of its array: looked up once and not for each request."""

    def __post_init__(self) -> None:
        if self.trained_until is not None and self.trained_until.tzinfo is None:
            raise InvalidInput("trained_until has no time zone.", next_step="give it one, such as UTC.")
        flavor = flavor_of(self.estimator)
        _refuse_other_width(flavor.width(self.estimator), len(self.signature.inputs))
        object.__setattr__(self, "flavor", flavor.name)
        object.__setattr__(self, "compiled", CompiledSignature(self.signature))
        object.__setattr__(self, "_predict", flavor.predict(self.estimator))
        arrays = tuple(
            (out.name, out.shape, np.dtype(_DTYPES[out.datatype])) for out in self.signature.outputs
        )
        object.__setattr__(self, "_arrays", arrays)

    @property
    def task(self) -> Task:
        """What it learned to tell."""
        return self.signature.task

    def predict(self, rows: Any) -> np.ndarray:
        """Its main output, of shape (rows, *shape); of a binary model the probability of the second class.

        `rows` is an Arrow table, or a data frame that Arrow can read (pandas, Polars).
        """
        return self.outputs(rows)[self.signature.outputs[0].name]

    def outputs(self, rows: Any) -> Outputs:
        """All of its outputs by name, each of shape (rows, *shape)."""
        return self._answer(matrix(self.signature, rows))

    def predict_unseen(self, rows: pa.Table, *, time: str | None = None) -> np.ndarray:
        """Its main output for rows that training has not seen, for an honest evaluation.

        `time` is the column of the rows' times; by default the model's own. Raises InvalidInput when a row is not newer
        than `trained_until`, or nobody knows until when it was trained.
        """
        self._refuse_seen(rows, time or self.time)
        return self.predict(rows)

    def infer(self, columns: Columns) -> Outputs:
        """All of its outputs from plain values by column, as the server has them."""
        return self._answer(self.compiled.matrix(columns))

    def _refuse_seen(self, rows: pa.Table, time: str | None) -> None:
        if self.trained_until is None or time is None:
            raise InvalidInput(
                "nobody knows until when this model was trained.",
                next_step="make it with ev.fit(…, time=…), or give Model(…, trained_until=…, time=…).",
            )
        span = time_span(rows, time)
        if span is not None and span[0] <= self.trained_until:
            raise InvalidInput(
                f"rows from {span[0].isoformat()} on were seen by training, which went until "
                f"{self.trained_until.isoformat()}; a model is not judged on them.",
                next_step="judge it on later rows, or train it on earlier ones.",
            )

    def _answer(self, filled: np.ndarray) -> Outputs:
        rows = len(filled)
        if not rows:
            return {name: np.empty((0, *shape), dtype) for name, shape, dtype in self._arrays}
        answered = self._predict(filled)
        by_name = answered if isinstance(answered, Mapping) else {self._arrays[0][0]: answered}
        return {
            name: np.asarray(by_name[name], dtype).reshape(rows, *shape)
            for name, shape, dtype in self._arrays
        }


def _refuse_other_width(takes: int | None, given: int) -> None:
    if takes not in (None, given):
        raise InvalidInput(
            f"the estimator was fitted on {takes} columns and its signature has {given} inputs.",
            next_step="fit it on matrix(signature, rows).",
        )
