"""`evaluate`: the candidate against everybody else on the same rows, whatever may be wrong with the champion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier

from everloop.errors import InvalidInput, Unsupported
from everloop.evaluation.baselines import constant, logistic
from everloop.evaluation.compare import compare
from everloop.evaluation.evaluate import evaluate
from everloop.evaluation.gates import beats
from everloop.evaluation.records import Evaluation
from everloop.models.model import Model
from everloop.models.signature import infer_signature, matrix
from everloop.training.fit import fit

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
INPUTS = ["visits", "plan"]


def rows(first: int, size: int) -> pa.Table:
    """Customers from the day `first` on, one an hour; who comes seldom leaves, most of all on the basic plan."""
    draw = np.random.default_rng(first)
    visits, plan = draw.integers(0, 10, size), draw.choice(["basic", "plus"], size)
    left = visits + 2 * (plan == "plus") + draw.normal(0, 2, size) < 4
    times = [BEGIN + timedelta(days=first, hours=hour) for hour in range(size)]
    return pa.table({"at": times, "visits": visits, "plan": plan, "left": left})


TRAIN, TEST = rows(0, 600), rows(100, 300)


def trained(table: pa.Table = TRAIN, inputs: list[str] = INPUTS, **tree: Any) -> Model:
    """A small tree."""
    estimator = DecisionTreeClassifier(max_depth=3, min_samples_leaf=20, random_state=0, **tree)
    return fit(estimator, table, inputs=inputs, label="left", time="at")


CANDIDATE = trained()
CHAMPION = trained(inputs=["visits"])


def test_it_is_the_comparison_that_one_would_make_by_hand() -> None:
    """Every number of it."""
    labels = TEST["left"].to_numpy()
    by_hand = compare(
        CANDIDATE.predict(TEST),
        labels,
        champion_scores=CHAMPION.predict(TEST),
        baselines={
            "constant": constant(TRAIN, label="left", inputs=INPUTS).predict(TEST),
            "logistic": logistic(TRAIN, label="left", inputs=INPUTS, seed=3).predict(TEST),
        },
        slices={"plan": TEST["plan"].to_pylist()},
        confidence=0.9,
    )
    found = evaluate(
        CANDIDATE,
        TEST,
        champion=CHAMPION,
        baselines=["constant", "logistic"],
        train=TRAIN,
        slices=["plan"],
        seed=3,
        confidence=0.9,
    )
    assert found == by_hand
    assert found.champion_left_out == ""
    assert beats("constant")(found).passed


def test_a_lone_text_is_one_name() -> None:
    """A slice or a baseline given as text is not taken for its letters."""
    found = evaluate(CANDIDATE, TEST, baselines="constant", train=TRAIN, slices="plan")
    assert found == evaluate(CANDIDATE, TEST, baselines=["constant"], train=TRAIN, slices=["plan"])
    assert (found.champion, found.champion_left_out) == (None, "")


class Broken:
    """A library that fails where nobody expects it."""

    def __call__(self, filled: np.ndarray) -> np.ndarray:
        """It has been taken out of the house."""
        raise ZeroDivisionError("no such thing")


def broken() -> Model:
    """A model that can be loaded and not asked."""
    model = trained()
    object.__setattr__(model, "_predict", Broken())
    return model


def of_kind(**changes: Any) -> Model:
    """A champion that is different."""
    given: dict[str, Any] = {"trained_until": BEGIN, "label": "left", "time": "at"} | changes
    estimator = DummyClassifier().fit(
        matrix(CANDIDATE.signature, TRAIN), TRAIN["left"].to_numpy().astype(int)
    )
    return Model(estimator, CANDIDATE.signature, **given)


def telling_numbers() -> Model:
    """A regressor whose answers are no probabilities."""
    signature = infer_signature(TRAIN, inputs=["visits"], output="left")
    fitted = LinearRegression().fit(matrix(signature, TRAIN), 40.0 * TRAIN["visits"].to_numpy())
    return Model(fitted, signature, trained_until=BEGIN, label="left", time="at")


LEFT_OUT: dict[str, tuple[Callable[[], Model], str]] = {
    "it has seen the rows": (lambda: trained(TEST), "were seen by training"),
    "nobody knows what it has seen": (lambda: of_kind(trained_until=None), "nobody knows until when"),
    "its time is not there": (lambda: of_kind(time="landed_at"), "no time column 'landed_at'"),
    "it asks for an input that is gone": (
        lambda: trained(TRAIN.rename_columns(["at", "calls", "plan", "left"]), inputs=["calls"]),
        "needs column calls",
    ),
    "it tells something else": (lambda: of_kind(label="late"), "it tells 'late'"),
    "its answers are no probabilities": (telling_numbers, "a score is not a probability"),
    "its library raises": (broken, "it cannot be asked: ZeroDivisionError"),
}


@pytest.mark.parametrize("why", LEFT_OUT)
def test_a_champion_that_cannot_be_judged_is_left_out_with_a_reason(why: str) -> None:
    """And everything else is as without one: an evaluation is always a value."""
    make, reason = LEFT_OUT[why]
    found = evaluate(CANDIDATE, TEST, champion=make(), baselines="constant", train=TRAIN, slices="plan")
    assert reason in found.champion_left_out
    alone = evaluate(CANDIDATE, TEST, baselines="constant", train=TRAIN, slices="plan")
    assert replace(found, champion_left_out="") == alone
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


def test_a_champion_that_does_not_know_its_label_and_time_is_judged_by_the_candidates() -> None:
    """It was made before models knew them."""
    old = of_kind(label=None, time=None)
    found = evaluate(CANDIDATE, TEST, champion=old)
    assert found == evaluate(CANDIDATE, TEST, champion=of_kind())
    assert found.champion is not None


@pytest.mark.parametrize(
    ("changes", "reason", "next_step"),
    [
        ({"candidate": of_kind(label=None)}, "does not say which column", "ev.fit"),
        ({"candidate": of_kind(time=None)}, "until when this model was trained", "time="),
        ({"candidate": trained(TEST)}, "were seen by training", "later rows"),
        ({"rows": TEST.drop_columns("left")}, "no label column 'left'", "one of these"),
        ({"rows": TEST.drop_columns("visits")}, "needs column visits", ""),
        ({"slices": ["region"]}, "no slice column 'region'", "one of these"),
        ({"baselines": ["naive"], "train": TRAIN}, "no baseline named 'naive'", "constant, logistic"),
        ({"baselines": ["constant"]}, "no rows to be trained on", "train="),
        ({"confidence": 95}, "not between 0 and 1", ""),
    ],
)
def test_what_is_wrong_with_the_rest_is_said(changes: dict[str, Any], reason: str, next_step: str) -> None:
    """The candidate and its rows are the run's own business, and must be right."""
    given: dict[str, Any] = {"candidate": CANDIDATE, "rows": TEST} | changes
    with pytest.raises(InvalidInput, match=reason) as error:
        evaluate(given.pop("candidate"), given.pop("rows"), **given)
    assert next_step in error.value.next_step


def test_what_is_no_classifier_is_not_measured_as_one() -> None:
    """A regressor is told that nothing evaluates it yet; what is no model is named, the champion too."""
    table = TRAIN.append_column("spent", TRAIN["visits"])
    number = fit(LinearRegression(), table, inputs=["visits"], label="spent", time="at", task="regression")
    with pytest.raises(Unsupported, match="regression cannot be evaluated yet"):
        evaluate(number, TEST)
    with pytest.raises(InvalidInput, match="'left@1' is no Model"):
        evaluate(CANDIDATE, TEST, champion="left@1")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="is no Model"):
        evaluate(CANDIDATE.estimator, TEST)  # type: ignore[arg-type]
