"""Models: kept without code, loaded as they were, the same from a table and from plain values, and honest about time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pyarrow as pa
import pytest
from skl2onnx import to_onnx
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from everloop.errors import Corrupted, InvalidInput, Refused, Unsupported
from everloop.evaluation.baselines import constant, logistic
from everloop.models.flavors import FLAVORS
from everloop.models.model import Model
from everloop.models.saving import load_model, save_model
from everloop.models.signature import infer_signature, matrix
from everloop.records.models import Datatype, FeaturePin, Field, Task
from everloop.settings import Trust
from everloop.storage.blobs import Blobs
from everloop.storage.codec import dumps

INPUTS = ["hour", "temp", "carrier", "holiday"]
NOTHING = Trust()
NOON = datetime(2013, 1, 31, 12, tzinfo=UTC)


def rows(seed: int = 0, size: int = 200) -> pa.Table:
    """Flights of a kind: late in the evening, and more so with one carrier."""
    draw = np.random.default_rng(seed)
    hour, temp = draw.integers(0, 24, size), draw.normal(10, 5, size)
    carrier = draw.choice(["AA", "B6", "UA"], size)
    late = hour + 8 * (carrier == "B6") + draw.normal(0, 6, size) > 16
    times = [NOON + timedelta(hours=place) for place in range(size)]
    return pa.table(
        {
            "hour": hour,
            "temp": temp,
            "carrier": carrier,
            "holiday": hour % 7 == 0,
            "late": late,
            "time": times,
        }
    )


ROWS = rows()
SIGNATURE = infer_signature(ROWS, inputs=INPUTS)
FILLED = matrix(SIGNATURE, ROWS)
LABELS = ROWS["late"].to_numpy(zero_copy_only=False).astype(int)


def booster(objective: str = "binary", labels: np.ndarray = LABELS, **params: Any) -> Any:
    """A small LightGBM model."""
    params |= {"objective": objective, "verbosity": -1, "num_threads": 1, "num_leaves": 5, "seed": 1}
    return lightgbm.train(params, lightgbm.Dataset(FILLED, labels), num_boost_round=5)


def stopped_early() -> Any:
    """A booster whose best round is not its last."""
    train, valid = lightgbm.Dataset(FILLED[:100], LABELS[:100]), lightgbm.Dataset(FILLED[100:], LABELS[100:])
    params = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "learning_rate": 0.9,
        "min_data_in_leaf": 2,
    }
    return lightgbm.train(
        params, train, 60, valid_sets=[valid], callbacks=[lightgbm.early_stopping(3, verbose=False)]
    )


def graph(estimator: Any, dtype: type = np.float32) -> Any:
    """A fitted scikit-learn model as ONNX."""
    options = {"zipmap": False} if is_classifier(estimator) else {}
    return to_onnx(estimator, FILLED[:1].astype(dtype), options=options)


ESTIMATORS: dict[str, Any] = {
    "lightgbm": booster,
    "lightgbm stopped early": stopped_early,
    "lightgbm regression": lambda: booster("regression"),
    "logistic": lambda: LogisticRegression().fit(FILLED, LABELS),
    "pipeline": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(FILLED, LABELS),
    "regression": lambda: LinearRegression().fit(FILLED, LABELS),
    "tree": lambda: DecisionTreeClassifier(random_state=0).fit(FILLED, LABELS),
    "forest": lambda: RandomForestClassifier(5, random_state=0).fit(FILLED, LABELS),
    "gradient boosting": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0).fit(
        FILLED, LABELS
    ),
    "histograms": lambda: HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(FILLED, LABELS),
    "network": lambda: MLPClassifier((4,), solver="lbfgs", max_iter=500, random_state=0).fit(
        FILLED / 10, LABELS
    ),
    "calibrated": lambda: CalibratedClassifierCV(LogisticRegression(), cv=2).fit(FILLED, LABELS),
    "vote": lambda: VotingClassifier([("a", LogisticRegression())], voting="soft").fit(FILLED, LABELS),
    "text labels": lambda: LogisticRegression().fit(FILLED, np.where(LABELS, "yes", "no")),
    "onnx float": lambda: graph(LogisticRegression().fit(FILLED, LABELS)),
    "onnx double": lambda: graph(LogisticRegression().fit(FILLED, LABELS), np.float64),
    "onnx regression": lambda: graph(LinearRegression().fit(FILLED, LABELS)),
}


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """An empty store."""
    return Blobs(tmp_path / "blobs")


class TestKeeping:
    """Saved and loaded."""

    @pytest.mark.parametrize("kind", ESTIMATORS)
    def test_a_model_comes_back_as_it_was(self, blobs: Blobs, kind: str) -> None:
        """The same scores to the bit, and everything that is known about it."""
        model = Model(ESTIMATORS[kind](), SIGNATURE, trained_until=NOON, facts={"trees": 5, "note": None})
        again = load_model(blobs, save_model(blobs, model), trust=NOTHING)
        fresh = rows(seed=1)
        np.testing.assert_array_equal(again.predict(fresh), model.predict(fresh))
        assert again.predict(fresh).dtype == np.float64
        assert (again.signature, again.trained_until, again.facts, again.flavor) == (
            SIGNATURE,
            NOON,
            {"trees": 5, "note": None},
            kind.split()[0] if kind.split()[0] in {flavor.name for flavor in FLAVORS} else "sklearn",
        )

    @pytest.mark.parametrize("kind", ESTIMATORS)
    def test_a_table_and_plain_values_give_the_same_scores(self, kind: str) -> None:
        """What the server answers is what the evaluation saw; one row alone scores as it does among others."""
        model = Model(ESTIMATORS[kind](), SIGNATURE)
        fresh = rows(seed=2, size=20)
        scores = model.predict(fresh)
        assert scores.shape == (20,)
        np.testing.assert_array_equal(_score(model, fresh), scores)
        alone = [_score(model, fresh.slice(place, 1))[0] for place in range(20)]
        np.testing.assert_allclose(alone, scores, rtol=1e-6 if "onnx" in kind else 1e-12)

    @pytest.mark.parametrize("kind", [kind for kind in ESTIMATORS if "regression" not in kind])
    def test_a_classifiers_score_is_the_probability_of_the_second_class(self, kind: str) -> None:
        """Between 0 and 1, and higher for those that were late."""
        scores = Model(ESTIMATORS[kind](), SIGNATURE).predict(ROWS)
        assert (scores >= 0).all()
        assert (scores <= 1).all()
        assert scores[LABELS == 1].mean() > scores[LABELS == 0].mean()

    @pytest.mark.parametrize("kind", ESTIMATORS)
    def test_equal_models_have_equal_digests(self, blobs: Blobs, kind: str) -> None:
        """Trained twice, and saved again after loading: the digest is the content's, not the process's."""
        first = save_model(blobs, Model(ESTIMATORS[kind](), SIGNATURE))
        assert save_model(blobs, Model(ESTIMATORS[kind](), SIGNATURE)) == first
        assert save_model(blobs, load_model(blobs, first, trust=NOTHING)) == first
        assert save_model(blobs, Model(ESTIMATORS[kind](), SIGNATURE, trained_until=NOON)) != first

    @pytest.mark.parametrize("kind", ["lightgbm", "logistic", "onnx float"])
    def test_a_changed_byte_is_refused_before_it_is_parsed(self, blobs: Blobs, kind: str) -> None:
        """In any of the model's files."""
        digest = save_model(blobs, Model(ESTIMATORS[kind](), SIGNATURE))
        for path in [path for path in blobs.folder.rglob("*") if path.is_file()]:
            true = path.read_bytes()
            path.write_bytes(true[:-1] + bytes([true[-1] ^ 1]))
            with pytest.raises(Corrupted, match="changed on the disk"):
                load_model(blobs, digest, trust=NOTHING)
            path.write_bytes(true)
        assert load_model(blobs, digest, trust=NOTHING).flavor

    def test_what_is_no_model_is_corrupted(self, blobs: Blobs) -> None:
        """An artifact of another kind, a flavor of another everloop, a file that is not named, a flavor that lies."""
        manifest: dict[str, Any] = {
            "flavor": "sklearn",
            "files": {},
            "signature": SIGNATURE,
            "trained_until": None,
            "facts": {},
        }
        for wrong in ([1, 2], manifest, manifest | {"flavor": "catboost"}):
            with pytest.raises(Corrupted):
                load_model(blobs, blobs.put(dumps(wrong)), trust=NOTHING)

    def test_no_rows_have_no_scores(self) -> None:
        """Libraries differ in what they say of nothing; everloop says nothing."""
        for kind in ("lightgbm", "logistic", "onnx float"):
            assert Model(ESTIMATORS[kind](), SIGNATURE).predict(ROWS.slice(0, 0)).tolist() == []


class Doubling(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """A step of somebody's own."""

    def fit(self, x: np.ndarray, y: np.ndarray | None = None) -> "Doubling":
        """Learn nothing."""
        self.fitted_ = True
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Twice as much."""
        return x * 2


class Own(BaseEstimator, ClassifierMixin):  # type: ignore[misc]
    """A classifier of somebody's own."""


class TestTrust:
    """What may be built from a file is on a list that the file does not write."""

    def test_a_type_that_nobody_trusted_is_refused(self, blobs: Blobs) -> None:
        """By its full name, and with the line that would trust it."""
        digest = save_model(blobs, Model(KNeighborsClassifier(2).fit(FILLED, LABELS), SIGNATURE))
        with pytest.raises(
            Refused, match=r"sklearn\.neighbors\._kd_tree\.KDTree.*skops = .*everloop\.toml"
        ) as refused:
            load_model(blobs, digest, trust=NOTHING)
        named = refused.value.reason.partition(": ")[2].rstrip(".").split(", ")
        again = load_model(blobs, digest, trust=Trust(skops=tuple(named)))
        assert again.predict(ROWS).shape == (200,)

    def test_a_users_own_type_inside_a_pipeline_needs_trust_too(self, blobs: Blobs) -> None:
        """Its code runs when it is loaded; one trusted type does not open the door to another."""
        model = Model(make_pipeline(Doubling(), LogisticRegression()).fit(FILLED, LABELS), SIGNATURE)
        digest = save_model(blobs, model)
        own = f"{Doubling.__module__}.Doubling"
        for trust in (NOTHING, Trust(skops=("other.Type",))):
            with pytest.raises(Refused, match="Doubling"):
                load_model(blobs, digest, trust=trust)
        again = load_model(blobs, digest, trust=Trust(skops=(own,)))
        np.testing.assert_array_equal(again.predict(ROWS), model.predict(ROWS))

    @pytest.mark.parametrize("where", ["weights", "node", "subgraph"])
    def test_an_onnx_model_that_points_outside_its_file_is_refused(self, blobs: Blobs, where: str) -> None:
        """Wherever in the graph the pointer hides, when it is made and when it is loaded."""
        model = graph(LogisticRegression().fit(FILLED, LABELS))
        secret = onnx.numpy_helper.from_array(np.zeros(4, np.float32), "secret")
        secret.ClearField("raw_data")
        secret.data_location = onnx.TensorProto.EXTERNAL
        secret.external_data.add(key="location", value="/etc/passwd")
        node = onnx.helper.make_node("Constant", [], ["outside"], value=secret)
        if where == "weights":
            model.graph.initializer.append(secret)
        elif where == "node":
            model.graph.node.append(node)
        else:
            body = onnx.helper.make_graph([node], "body", [], [])
            model.graph.node.append(
                onnx.helper.make_node("If", ["c"], [], then_branch=body, else_branch=body)
            )
        with pytest.raises(Refused, match="outside its file"):
            Model(model, SIGNATURE)
        manifest = {
            "flavor": "onnx",
            "files": {"model.onnx": blobs.put(model.SerializeToString())},
            "signature": SIGNATURE,
            "trained_until": None,
            "facts": {},
        }
        with pytest.raises(Refused, match="outside its file"):
            load_model(blobs, blobs.put(dumps(manifest)), trust=NOTHING)


class TestRefusals:
    """What cannot be kept, or would answer with something else than one honest score, is told when it is made."""

    @pytest.mark.parametrize(
        ("make", "told"),
        [
            (lambda: object(), "builtins.object is not an estimator"),
            (lambda: "model", "builtins.str is not an estimator"),
            (lambda: Own(), "Own is not an estimator"),
            (lambda: lightgbm.Dataset(FILLED), "Dataset is not an estimator"),
            (lambda: StandardScaler().fit(FILLED), "StandardScaler is not an estimator"),
            (
                lambda: lightgbm.LGBMClassifier(n_estimators=2, verbosity=-1).fit(FILLED, LABELS),
                "LGBMClassifier is not an estimator.*its booster_",
            ),
            (
                lambda: RidgeClassifier().fit(FILLED, LABELS),
                "classes and no probabilities.*CalibratedClassifierCV",
            ),
            (lambda: LogisticRegression().fit(FILLED, np.arange(200) % 3), "gives 2 scores"),
            (lambda: booster("multiclass", np.arange(200) % 3, num_class=3), "gives 3 scores"),
            (
                lambda: to_onnx(LogisticRegression().fit(FILLED, LABELS), FILLED[:1].astype(np.float32)),
                "maps and not",
            ),
        ],
    )
    def test_what_everloop_does_not_keep(self, make: Any, told: str) -> None:
        """With the way to something that it does keep."""
        with pytest.raises(Unsupported, match=told):
            Model(make(), SIGNATURE)

    @pytest.mark.parametrize(
        "estimator", [LogisticRegression(), RandomForestClassifier(), LinearRegression()]
    )
    def test_what_was_never_fitted(self, estimator: Any) -> None:
        """It would fail at its first request."""
        with pytest.raises(InvalidInput, match="has not been fitted"):
            Model(estimator, SIGNATURE)

    @pytest.mark.parametrize("kind", ["lightgbm", "logistic", "onnx float"])
    def test_a_signature_of_another_width(self, kind: str) -> None:
        """The two numbers are named."""
        with pytest.raises(InvalidInput, match="fitted on 4 columns and its signature has 2 inputs"):
            Model(ESTIMATORS[kind](), infer_signature(ROWS, inputs=["hour", "temp"]))


class TestHonesty:
    """A model is not judged on what it was trained on."""

    def model(self, until: datetime | None) -> Model:
        """A model trained until then."""
        return Model(ESTIMATORS["logistic"](), SIGNATURE, trained_until=until)

    def test_unseen_rows_are_scored(self) -> None:
        """All of them newer than the training."""
        model = self.model(NOON - timedelta(microseconds=1))
        np.testing.assert_array_equal(model.predict_unseen(ROWS, time="time"), model.predict(ROWS))
        assert model.predict_unseen(ROWS.slice(0, 0), time="time").tolist() == []

    @pytest.mark.parametrize("until", [NOON, NOON + timedelta(days=1)])
    def test_seen_rows_are_refused(self, until: datetime) -> None:
        """One is enough, and its time is named; the very moment of the end counts as seen."""
        with pytest.raises(InvalidInput, match=r"2013-01-31T12:00:00.* were seen by training"):
            self.model(until).predict_unseen(ROWS, time="time")

    def test_a_finer_clock_does_not_hide_a_seen_row(self) -> None:
        """Nanoseconds are rounded towards the past."""
        times = pa.array([1_359_633_600_000_000_999], pa.timestamp("ns", "UTC"))
        finer = ROWS.slice(0, 1).set_column(5, "time", times)
        with pytest.raises(InvalidInput, match="were seen by training"):
            self.model(NOON).predict_unseen(finer, time="time")

    def test_who_does_not_know_until_when_it_was_trained_cannot_be_judged(self) -> None:
        """And is told how to say it."""
        with pytest.raises(InvalidInput, match="trained_until"):
            self.model(None).predict_unseen(ROWS, time="time")

    @pytest.mark.parametrize(
        ("column", "told"),
        [
            (pa.array([NOON + timedelta(days=1), None]), "1 rows have no time"),
            (pa.array([datetime(2014, 1, 1)] * 2), "a time with a time zone"),
            (pa.array(["2014-01-01T00:00:00Z"] * 2), "is of type string"),
        ],
    )
    def test_times_that_say_nothing_are_refused(self, column: pa.Array, told: str) -> None:
        """A row without a time may have been seen."""
        with pytest.raises(InvalidInput, match=told):
            self.model(NOON).predict_unseen(ROWS.slice(0, 2).set_column(5, "time", column), time="time")
        with pytest.raises(InvalidInput, match="no time column 'when'"):
            self.model(NOON).predict_unseen(ROWS, time="when")

    def test_a_training_time_without_a_zone_is_refused(self) -> None:
        """It could not be compared with anything."""
        with pytest.raises(InvalidInput, match="no time zone"):
            self.model(datetime(2013, 1, 1))


class TestBaselines:
    """What a candidate must beat."""

    def test_the_constant_is_the_share_of_positives(self) -> None:
        """For every row, whatever is in it; also when all rows have one label."""
        assert set(constant(ROWS, label="late", inputs=INPUTS).predict(rows(seed=3))) == {LABELS.mean()}
        for value in (False, True):
            same = ROWS.set_column(4, "late", pa.array([value] * 200))
            assert set(constant(same, label="late", inputs=INPUTS).predict(ROWS)) == {float(value)}

    def test_the_logistic_regression_has_learned_something(self) -> None:
        """With gaps, with unknown categories, with columns that are empty or all one kind; never a warning."""
        gaps = ROWS.set_column(1, "temp", pa.array([None if place % 3 else 1.0 for place in range(200)]))
        gaps = gaps.append_column("empty", pa.nulls(200, pa.float64()))
        for inputs in (INPUTS, [*INPUTS, "empty"], ["carrier"], ["hour", "temp"]):
            model = logistic(gaps, label="late", inputs=inputs)
            scores = model.predict(gaps)
            assert scores[LABELS == 1].mean() > scores[LABELS == 0].mean()
        strange = gaps.set_column(2, "carrier", pa.array(["??", None] * 100))
        assert np.isfinite(logistic(gaps, label="late", inputs=INPUTS).predict(strange)).all()

    def test_a_sample_is_drawn_the_same_every_time(self, blobs: Blobs) -> None:
        """From more rows than it needs, by its seed."""
        made = [logistic(ROWS, label="late", inputs=INPUTS, most_rows=100, seed=seed) for seed in (0, 0, 1)]
        digests = [save_model(blobs, model) for model in made]
        assert digests[0] == digests[1] != digests[2]
        again = load_model(blobs, digests[0], trust=NOTHING)
        np.testing.assert_array_equal(again.predict(ROWS), made[0].predict(ROWS))

    @pytest.mark.parametrize(
        ("labels", "told"),
        [
            (pa.array([None] + [1] * 199), "1 rows have no label"),
            (pa.array(["yes"] * 200), "is of type string"),
            (pa.array([0, 2] * 100), "must be 0 or 1"),
            (pa.array([0.0, 0.5] * 100), "must be 0 or 1"),
            (pa.array([0.0, float("nan")] * 100), "must be 0 or 1"),
        ],
    )
    @pytest.mark.parametrize("baseline", [constant, logistic])
    def test_labels_that_are_none_are_refused(self, baseline: Any, labels: pa.Array, told: str) -> None:
        """Before anything is fitted."""
        with pytest.raises(InvalidInput, match=told):
            baseline(ROWS.set_column(4, "late", labels), label="late", inputs=INPUTS)
        with pytest.raises(InvalidInput, match="no label column 'when'"):
            baseline(ROWS, label="when", inputs=INPUTS)

    def test_one_label_is_not_enough_for_a_regression(self) -> None:
        """The way out is the constant."""
        same = ROWS.set_column(4, "late", pa.array([True] * 200))
        with pytest.raises(InvalidInput, match=r"every row has the same label.*constant"):
            logistic(same, label="late", inputs=INPUTS)

    @pytest.mark.parametrize("baseline", [constant, logistic])
    def test_no_rows_are_refused(self, baseline: Any) -> None:
        """There is nothing to learn."""
        with pytest.raises(InvalidInput):
            baseline(ROWS.slice(0, 0), label="late", inputs=INPUTS)


def test_an_output_may_hold_several_values_a_row(tmp_path: Path) -> None:
    """A regression of two targets answers an array of shape (rows, 2), also when it was kept and loaded."""
    signature = replace(
        SIGNATURE, outputs=(Field(name="delays", datatype=Datatype.FP64, shape=(2,)),), task=Task.REGRESSION
    )
    both = np.column_stack([LABELS, 2.0 * LABELS])
    model = Model(LinearRegression().fit(FILLED, both), signature, label="delays")
    blobs = Blobs(tmp_path)
    again = load_model(blobs, save_model(blobs, model), trust=Trust())
    assert again.task is Task.REGRESSION
    assert model.predict(ROWS).shape == (ROWS.num_rows, 2)
    np.testing.assert_array_equal(again.predict(ROWS), model.predict(ROWS))
    np.testing.assert_array_equal(_score(again, ROWS), model.predict(ROWS))
    assert again.predict(ROWS.slice(0, 0)).shape == (0, 2)


def test_a_data_frame_is_asked_like_a_table() -> None:
    """Whatever speaks Arrow's interface for streams can be scored; what does not is refused."""
    model = Model(ESTIMATORS["logistic"](), SIGNATURE)

    class Frame:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return ROWS.__arrow_c_stream__(requested_schema)

    np.testing.assert_array_equal(model.predict(Frame()), model.predict(ROWS))
    with pytest.raises(InvalidInput, match="a int cannot be read as a table"):
        model.predict(3)


def test_everything_that_is_known_of_a_model_is_kept(tmp_path: Path) -> None:
    """Label, time, task, classes and the features that made its inputs come back."""
    features = FeaturePin(service="late", digest="d" * 64)
    signature = replace(SIGNATURE, classes=("on time", "late"))
    model = Model(ESTIMATORS["logistic"](), signature, label="late", time="at", features=features)
    blobs = Blobs(tmp_path)
    again = load_model(blobs, save_model(blobs, model), trust=Trust())
    assert (again.label, again.time, again.features, again.signature) == ("late", "at", features, signature)


def _score(model: Model, table: pa.Table) -> np.ndarray:
    """The main output from plain values, as the server asks for it."""
    return model.infer(table.to_pydict())[model.signature.outputs[0].name]
