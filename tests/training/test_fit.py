"""`fit`: from an estimator and rows to a model that knows its inputs, its label, its times and its weights."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from everloop.errors import InvalidInput, Unsupported
from everloop.features.views import FeatureService, FeatureView
from everloop.models.model import Model
from everloop.models.saving import load_model, save_model
from everloop.models.signature import infer_signature, matrix
from everloop.records.models import Datatype, FeaturePin, Task
from everloop.settings import Trust
from everloop.storage.blobs import Blobs
from everloop.storage.codec import digest_of
from everloop.training.fit import fit

BEGIN = datetime(2013, 1, 1, tzinfo=UTC)
NUMBERS = ["hour", "temp"]
INPUTS = [*NUMBERS, "carrier"]


def rows(seed: int = 0, size: int = 300, begin: datetime = BEGIN) -> pa.Table:
    """Flights of a kind: late in the evening, and more so with the carrier in the middle of the alphabet."""
    draw = np.random.default_rng(seed)
    hour, temp = draw.integers(0, 24, size), draw.normal(10, 5, size)
    carrier = draw.choice(["AA", "B6", "UA"], size)
    late = hour + 8 * (carrier == "B6") + draw.normal(0, 6, size) > 16
    times = pa.array([begin + timedelta(hours=place) for place in range(size)], pa.timestamp("us", "UTC"))
    weights = draw.uniform(0.1, 3, size)
    return pa.table(
        {"hour": hour, "temp": temp, "carrier": carrier, "late": late, "time": times, "weight": weights}
    )


ROWS = rows()
LATER = rows(seed=1, size=200, begin=BEGIN + timedelta(days=30))
FIXED: dict[str, Any] = {"n_jobs": 0, "deterministic": True, "force_row_wise": True, "verbosity": -1}


def trees(**params: Any) -> Any:
    """LightGBM's wrapper with what makes its text the same on every machine."""
    return LGBMClassifier(
        n_estimators=20, num_leaves=5, min_child_samples=10, random_state=3, **FIXED | params
    )


def text(model: Model) -> str:
    """A booster's own text."""
    booster: Any = model.estimator
    return str(booster.model_to_string())


def relabelled(labels: pa.Array, table: pa.Table = ROWS) -> pa.Table:
    """The rows with other labels."""
    return table.set_column(3, "late", labels)


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Blobs]:
    """An empty blob store."""
    yield Blobs(tmp_path / "blobs")


class TestLightGBM:
    """The wrapper is fitted, and its booster is what is kept."""

    @pytest.mark.parametrize("inputs", [NUMBERS, INPUTS])
    def test_the_booster_is_the_one_that_lightgbm_trains_by_itself(self, inputs: list[str]) -> None:
        """To the last letter of its text: with categories, because `fit` tells of them, and without."""
        signature = infer_signature(ROWS, inputs=inputs, output="late")
        params = {
            "objective": "binary",
            "num_leaves": 5,
            "learning_rate": 0.1,
            "min_data_in_leaf": 10,
            "seed": 3,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        places = [place for place, name in enumerate(inputs) if name == "carrier"]
        labels = ROWS["late"].to_numpy()
        data = lightgbm.Dataset(matrix(signature, ROWS), labels, categorical_feature=places)
        booster = lightgbm.train(params, data, num_boost_round=20)
        model = fit(trees(), ROWS, inputs=inputs, label="late")
        assert model.flavor == "lightgbm"
        assert text(model) == booster.model_to_string()
        np.testing.assert_array_equal(model.predict(LATER), Model(booster, signature).predict(LATER))

    def test_a_category_is_no_number(self) -> None:
        """LightGBM is told which columns are codes; the wrapper would take them for numbers, and say nothing."""
        told = text(fit(trees(), ROWS, inputs=INPUTS, label="late"))
        silent = trees().fit(matrix(infer_signature(ROWS, inputs=INPUTS), ROWS), ROWS["late"].to_numpy())
        assert "[categorical_feature: 2]" in told
        assert "[categorical_feature: ]" in silent.booster_.model_to_string()

    def test_it_stops_early_on_rows_that_it_has_seen_then(self, blobs: Blobs) -> None:
        """The best round is what answers, also when it was kept and loaded; the newest of both tables was seen."""
        eager = trees(early_stopping_rounds=2, learning_rate=0.9, metric="binary_logloss").set_params(
            n_estimators=200
        )
        model = fit(eager, ROWS, inputs=INPUTS, label="late", time="time", valid=LATER)
        booster: Any = model.estimator
        assert 0 < booster.best_iteration < 100
        again = load_model(blobs, save_model(blobs, model), trust=Trust())
        np.testing.assert_array_equal(again.predict(LATER), model.predict(LATER))
        assert model.trained_until == BEGIN + timedelta(days=30, hours=199)

    def test_weights_count_in_both_tables(self) -> None:
        """As if the wrapper had been given them by hand."""
        signature = infer_signature(ROWS, inputs=NUMBERS, output="late")
        stopping = trees(early_stopping_rounds=3, learning_rate=0.5)
        by_hand = clone(stopping).fit(
            matrix(signature, ROWS),
            ROWS["late"].to_numpy().astype(int),
            sample_weight=ROWS["weight"].to_numpy(),
            eval_X=matrix(signature, LATER),
            eval_y=LATER["late"].to_numpy().astype(int),
            eval_sample_weight=[LATER["weight"].to_numpy()],
        )
        model = fit(stopping, ROWS, inputs=NUMBERS, label="late", valid=LATER, weight="weight")
        assert text(model) == by_hand.booster_.model_to_string()
        without = fit(stopping, ROWS, inputs=NUMBERS, label="late", valid=LATER)
        assert (model.predict(LATER) != without.predict(LATER)).any()

    def test_a_class_of_the_users_own_is_one_too(self) -> None:
        """It is told by where it comes from."""

        class Mine(LGBMClassifier):
            """LightGBM's with another name."""

        mine = Mine(n_estimators=3, min_child_samples=10, **FIXED)
        assert fit(mine, ROWS, inputs=INPUTS, label="late").flavor == "lightgbm"

    def test_a_number_is_told_where_it_is_asked_for(self) -> None:
        """A regressor learns it."""
        model = fit(
            LGBMRegressor(n_estimators=50, min_child_samples=5, **FIXED),
            ROWS,
            inputs=["hour"],
            label="temp",
            task="regression",
        )
        assert (model.task, model.label) == (Task.REGRESSION, "temp")
        assert 5 < model.predict(ROWS).mean() < 15


class TestScikitLearn:
    """Whatever takes a matrix without gaps, and a pipeline for what does not."""

    @pytest.mark.parametrize(
        "estimator",
        [
            LogisticRegression(max_iter=500),
            RandomForestClassifier(5, random_state=0),
            StackingClassifier([("trees", RandomForestClassifier(5, random_state=0))]),
            make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        ],
        ids=["estimator", "forest", "stack", "pipeline"],
    )
    def test_an_estimator_is_kept_whole(self, estimator: Any, blobs: Blobs) -> None:
        """And the one that was given stays unfitted, so it can be given again."""
        one, other = (fit(estimator, ROWS, inputs=INPUTS, label="late") for _ in range(2))
        assert one.flavor == "sklearn"
        np.testing.assert_array_equal(one.predict(LATER), other.predict(LATER))
        late = LATER["late"].to_numpy()
        assert one.predict(LATER)[late].mean() > one.predict(LATER)[~late].mean() + 0.1
        again = load_model(blobs, save_model(blobs, one), trust=Trust())
        np.testing.assert_array_equal(again.predict(LATER), one.predict(LATER))
        assert again.label == "late"

    @pytest.mark.parametrize(
        "estimator",
        [GaussianNB(), make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), GaussianNB()))],
    )
    def test_weights_reach_the_last_step_of_a_pipeline(self, estimator: Any) -> None:
        """However deep it lies."""
        plain = fit(estimator, ROWS, inputs=NUMBERS, label="late")
        weighted = fit(estimator, ROWS, inputs=NUMBERS, label="late", weight="weight")
        assert (plain.predict(LATER) != weighted.predict(LATER)).any()
        twice = ROWS.set_column(5, "weight", pa.array([2] * ROWS.num_rows))
        np.testing.assert_allclose(
            fit(estimator, twice, inputs=NUMBERS, label="late", weight="weight").predict(LATER),
            plain.predict(LATER),
        )

    def test_rows_to_stop_early_on(self) -> None:
        """In scikit-learn's own words."""
        estimator = HistGradientBoostingClassifier(early_stopping=True, n_iter_no_change=2, learning_rate=0.9)
        model = fit(estimator, ROWS, inputs=INPUTS, label="late", valid=LATER, weight="weight", time="time")
        fitted: Any = model.estimator
        assert fitted.n_iter_ < 50
        assert model.trained_until == BEGIN + timedelta(days=30, hours=199)

    def test_what_takes_no_such_thing_says_so(self) -> None:
        """Nothing is left out in silence."""
        with pytest.raises(InvalidInput, match="KNeighborsClassifier takes no weights"):
            fit(KNeighborsClassifier(), ROWS, inputs=NUMBERS, label="late", weight="weight")
        for estimator in (LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())):
            with pytest.raises(InvalidInput, match="takes no rows to stop early on"):
                fit(estimator, ROWS, inputs=NUMBERS, label="late", valid=LATER)


class TestLabels:
    """What is true or false is told as a probability; anything else is asked about."""

    @pytest.mark.parametrize("kind", [pa.bool_(), pa.int8(), pa.uint64(), pa.float32(), pa.float64()])
    def test_true_and_false_may_be_written_in_many_ways(self, kind: pa.DataType) -> None:
        """All give the same model, whose classes are simply 0 and 1."""
        table = relabelled(ROWS["late"].cast(pa.int8()).cast(kind))
        model = fit(trees(), table, inputs=INPUTS, label="late")
        same = fit(trees(), ROWS, inputs=INPUTS, label="late")
        assert text(model) == text(same)
        assert (model.task, model.signature.classes) == (Task.BINARY, ())
        assert [(field.name, field.datatype) for field in model.signature.outputs] == [
            ("late", Datatype.FP64)
        ]

    @pytest.mark.parametrize(
        ("labels", "reason", "next_step"),
        [
            (pa.array([None] + [True] * 299), "1 rows have no label 'late'", "is_valid"),
            (pa.array([0, 1, 2] * 100), "is 2 in a row", 'task="regression"'),
            (pa.array([0.0, 0.5] * 150), r"is 0\.5 in a row", 'task="regression"'),
            (pa.array([0.0, float("nan")] * 150), "is nan in a row", 'task="regression"'),
            (pa.array(["yes", "no"] * 150), "is of type string", 'pc.equal(rows["late"], "yes")'),
            (pa.array([True] * 300), "is 1 in every row", "both kinds"),
        ],
    )
    def test_what_is_neither_is_refused(self, labels: pa.Array, reason: str, next_step: str) -> None:
        """With what to do about it, before anything is fitted."""
        with pytest.raises(InvalidInput, match=reason) as error:
            fit(trees(), relabelled(labels), inputs=INPUTS, label="late")
        assert next_step in error.value.next_step

    def test_an_estimator_learns_its_own_task_only(self) -> None:
        """A regressor's answer is no probability, and a classifier tells no number."""
        with pytest.raises(
            InvalidInput, match="LGBMRegressor does not learn the task binary of label 'late'"
        ):
            fit(LGBMRegressor(), ROWS, inputs=NUMBERS, label="late")
        with pytest.raises(InvalidInput, match="LogisticRegression does not learn the task regression"):
            fit(LogisticRegression(), ROWS, inputs=["hour"], label="temp", task=Task.REGRESSION)
        with pytest.raises(InvalidInput, match=r"no task 'ranking'.*binary, regression"):
            fit(trees(), ROWS, inputs=NUMBERS, label="late", task="ranking")
        with pytest.raises(InvalidInput, match="not a finite number"):
            fit(
                LinearRegression(),
                ROWS.append_column("gain", pa.array([1.0, float("inf")] * 150)),
                inputs=NUMBERS,
                label="gain",
                task="regression",
            )


class TestInputs:
    """What a model takes is seen from the rows, and what may be missing is said."""

    SERVICE = FeatureService(
        "late",
        [FeatureView("sky", source="weather", join_key="origin", event_time="at", columns=["temp", "wind"])],
    )

    def test_what_the_feature_service_makes_may_be_missing(self) -> None:
        """And which service, in which words, is remembered."""
        table = ROWS.append_column("sky_temp", ROWS["temp"])
        model = fit(
            trees(),
            table,
            inputs=["sky_temp", "hour", "carrier"],
            label="late",
            features=self.SERVICE,
            optional=["carrier"],
        )
        assert [(field.name, field.nullable) for field in model.signature.inputs] == [
            ("sky_temp", True),
            ("hour", False),
            ("carrier", True),
        ]
        assert model.features == FeaturePin(service="late", digest=digest_of(self.SERVICE.definition()))
        assert fit(trees(), table, inputs=["hour"], label="late").features is None

    def test_rows_may_be_a_data_frame(self) -> None:
        """As in a notebook."""

        class Frame:
            """Anything that Arrow can read."""

            def __arrow_c_stream__(self, schema: object = None) -> object:
                """The rows."""
                return ROWS.__arrow_c_stream__(schema)

        model = fit(trees(), Frame(), inputs=INPUTS, label="late", time="time")
        assert model.trained_until == BEGIN + timedelta(hours=299)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"inputs": [*INPUTS, "humid"]}, "no column humid among"),
            ({"label": "delayed"}, "no label column 'delayed' among"),
            ({"time": "when"}, "no time column 'when' among"),
            ({"weight": "mass"}, "no weight column 'mass' among"),
            ({"weight": "carrier"}, "weight 'carrier' is of type string"),
            ({"weight": "temp"}, "weight 'temp' is not a number of 0 or more in every row"),
            ({"inputs": [*INPUTS, "late"]}, "'late' is the label and cannot be an input"),
            ({"inputs": []}, "at least one input"),
            ({"optional": ["humid"]}, "humid cannot be optional"),
            ({"time": "hour"}, "hour is of type int64; it must be a time with a time zone"),
            ({"valid": LATER.drop_columns("hour")}, "needs column hour"),
            ({"valid": LATER.drop_columns("late")}, "no label column 'late' among"),
            ({"rows": ROWS.slice(0, 0)}, "no rows with a label 'late'"),
            ({"rows": 7}, "int cannot be read as a table"),
            ({"rows": ROWS.append_column("hour", ROWS["hour"])}, "two columns named hour"),
        ],
    )
    def test_what_cannot_be_used_is_named(self, changes: dict[str, Any], reason: str) -> None:
        """A column that is not there, and one that is something else."""
        usual: dict[str, Any] = {"rows": ROWS, "inputs": INPUTS, "label": "late"}
        given = usual | changes
        with pytest.raises(InvalidInput, match=reason):
            fit(trees(), given.pop("rows"), **given)


class TestTimes:
    """Until when a model has seen the world."""

    def test_the_newest_row_is_where_training_ended(self) -> None:
        """Whatever the order of the rows; then they cannot be judged on, and later ones can."""
        model = fit(trees(), ROWS.take(list(range(299, -1, -1))), inputs=INPUTS, label="late", time="time")
        assert (model.trained_until, model.time) == (BEGIN + timedelta(hours=299), "time")
        assert len(model.predict_unseen(LATER)) == 200
        with pytest.raises(InvalidInput, match="were seen by training"):
            model.predict_unseen(ROWS)

    def test_a_time_without_a_zone_is_refused(self) -> None:
        """It could not be compared with anything, and so could one that is missing."""
        naive = ROWS.set_column(4, "time", ROWS["time"].cast(pa.timestamp("us")))
        with pytest.raises(InvalidInput, match="must be a time with a time zone"):
            fit(trees(), naive, inputs=INPUTS, label="late", time="time")
        gap = ROWS.set_column(
            4, "time", pa.array([None, *ROWS["time"].to_pylist()[1:]], pa.timestamp("us", "UTC"))
        )
        with pytest.raises(InvalidInput, match="1 rows have no time"):
            fit(trees(), gap, inputs=INPUTS, label="late", time="time")

    def test_without_a_time_nobody_knows(self) -> None:
        """So it cannot be judged, and says how it could be."""
        model = fit(trees(), ROWS, inputs=INPUTS, label="late")
        with pytest.raises(InvalidInput, match=r"ev\.fit"):
            model.predict_unseen(LATER)


def test_an_estimator_that_has_been_fitted_is_refused() -> None:
    """Nobody knows what it has seen; one of scikit-learn, a pipeline and a wrapper of LightGBM alike."""
    filled, late = matrix(infer_signature(ROWS, inputs=NUMBERS), ROWS), ROWS["late"].to_numpy()
    for estimator in (LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression()), trees()):
        fitted = estimator.fit(filled, late)
        with pytest.raises(InvalidInput, match=r"is fitted already.*Model\(estimator"):
            fit(fitted, ROWS, inputs=NUMBERS, label="late")


@pytest.mark.parametrize(
    "thing", ["a booster", LGBMClassifier, StandardScaler(), make_pipeline(StandardScaler()), None]
)
def test_what_is_no_estimator_is_refused(thing: object) -> None:
    """With what would be one."""
    if thing == "a booster":
        thing = fit(trees(), ROWS, inputs=NUMBERS, label="late").estimator
    with pytest.raises(
        Unsupported, match=r"is no estimator that everloop can fit\. Next: give one of scikit-learn"
    ):
        fit(thing, ROWS, inputs=NUMBERS, label="late")
