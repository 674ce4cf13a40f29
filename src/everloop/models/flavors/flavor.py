"""What everloop must know of a library to keep its estimators; filled in once for each, in the files beside this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from everloop.errors import Unsupported
from everloop.settings import Trust

Predict: TypeAlias = Callable[[np.ndarray], "np.ndarray | Mapping[str, np.ndarray]"]
"""From a matrix to the answers: one array where there is one output, else an array for each output by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """How one library's estimators are recognised, written, read and asked."""

    name: str
    file: str
    owns: Callable[[object], bool]
    write: Callable[[Any], bytes]
    read: Callable[[bytes, Trust], object]
    width: Callable[[Any], int | None]
    """Columns of the matrix that it takes; None when it does not say."""
    predict: Callable[[Any], Predict]
    trains: Callable[[object], bool] = lambda _estimator: False
    """Whether this is one of the library's estimators that can be fitted, whether it has been or not."""
    kept: Callable[[Any], object] = lambda fitted: fitted
    """What of a fitted estimator is kept and asked."""


def type_of(estimator: object) -> tuple[str, str]:
    """The package and the name of an estimator's class, without importing either."""
    return type(estimator).__module__.split(".")[0], type(estimator).__name__


def refuse_many_scores(kind: str, scores: int) -> None:
    """Say that only one score a row can be kept so far."""
    if scores != 1:
        raise Unsupported(
            f"this {kind} gives {scores} scores for a row; everloop keeps models that give one.",
            next_step="train one model for each class.",
        )
