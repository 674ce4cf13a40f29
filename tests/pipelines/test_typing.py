"""What a type checker sees of a pipeline: the user's own types, where steps are called and where they are handed on.

`make lint` runs mypy in strict mode over this file, so each line with an ignore is also a mistake that it does find.
"""

from __future__ import annotations

from typing import NamedTuple, assert_type

import pyarrow as pa

from everloop.features.history import History
from everloop.features.views import FeatureService, FeatureView
from everloop.models.model import Model
from everloop.pipelines.pipeline import pipeline, register
from everloop.pipelines.steps import step
from everloop.records.checks import Check
from everloop.records.datasets import Dataset
from everloop.registry.model_names import RegisteredModel

rows = Dataset("rows", keys="id", event_time="at")
view = FeatureView("view", source=rows, join_key="id", event_time="at", columns=["x"])
features = FeatureService("features", [view])
late = RegisteredModel("late", gate=Check[float]("good", lambda score: (score > 0, "")))


class Parts(NamedTuple):
    """Two tables."""

    train: pa.Table
    test: pa.Table


@step
def split(rows: pa.Table, days: int) -> Parts:
    """The first rows and the others."""
    return Parts(rows.slice(0, days), rows.slice(days))


@step
def join(rows: pa.Table, history: History, at: str = "at") -> pa.Table:
    """With features."""
    return history.join(rows, at=at)


@step(retries=2)
def train(rows: pa.Table, seed: int) -> Model:
    """A model."""
    raise NotImplementedError


@step(cache=False)
def evaluate(candidate: Model, champion: Model | None, rows: pa.Table) -> float:
    """A score."""
    return 0.5


@pipeline
def keep_fresh(days: int = 28, seed: int = 7) -> None:
    """What a user writes, without a cast and without an ignore."""
    train_rows, test_rows = split(join(rows.rows, features.history), days)
    candidate = train(train_rows, seed=seed)
    register(late, candidate, evaluate(candidate, late.champion, test_rows))


def mistakes() -> None:
    """What mypy finds before anything runs."""
    train(rows.rows, "7")  # type: ignore[arg-type]
    train(rows.rows)  # type: ignore[call-arg]
    join(rows.rows, features)  # type: ignore[arg-type]
    evaluate(late.champion, None, rows.rows)  # type: ignore[arg-type]
    register("late", train(rows.rows, 7), 0.5)  # type: ignore[arg-type]


def test_a_step_keeps_its_types() -> None:
    """Called anywhere else it is the function that was written, with its own result."""
    assert_type(features.history, History)
    assert_type(late.champion, Model | None)
    parts = assert_type(split(pa.table({"id": [1, 2, 3]}), 1), Parts)
    assert (parts.train.num_rows, parts.test.num_rows) == (1, 2)
    assert [node.name for node in keep_fresh.graph.nodes] == [
        "read_rows",
        "join",
        "split",
        "train",
        "evaluate",
        "gate",
        "register",
    ]
