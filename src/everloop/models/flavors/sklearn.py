"""scikit-learn's estimators through skops, whose loader builds only types that are on a list."""

from importlib import import_module
from typing import Any

import numpy as np

from everloop.errors import InvalidInput, Refused, Unsupported
from everloop.models.flavors.flavor import Flavor, Predict, refuse_many_scores, type_of
from everloop.models.flavors.skops_bytes import settled
from everloop.settings import Trust

# These are on the list although skops leaves them to the user: each is data to its library, and making one from a file
# sets its fields and calls nothing else.
_SKOPS_TRUSTED = (
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)


def _read_sklearn(data: bytes, trust: Trust) -> object:
    skops = import_module("skops.io")
    allowed = {*_SKOPS_TRUSTED, *trust.skops}
    unknown = [kind for kind in skops.get_untrusted_types(data=data) if kind not in allowed]
    if unknown:
        raise Refused(
            f"the model holds types that nobody has trusted: {', '.join(unknown)}.",
            next_step=f"if you know them, write skops = {unknown} under [trust] of everloop.toml.",
        )
    return skops.loads(data, trusted=sorted(allowed))


def _predict_sklearn(estimator: Any) -> Predict:
    _refuse_unfitted(estimator)
    if not import_module("sklearn.base").is_classifier(estimator):
        return lambda filled: estimator.predict(filled)
    if not hasattr(estimator, "predict_proba"):
        raise Unsupported(
            f"{type(estimator).__name__} gives classes and no probabilities.",
            next_step="wrap it in sklearn.calibration.CalibratedClassifierCV.",
        )
    classes = np.asarray(estimator.classes_)
    if len(classes) == 1:  # the rows it was trained on had one label only
        return lambda filled: np.full(len(filled), float(classes[0] == 1))
    refuse_many_scores("classifier", classes.size - 1)
    return lambda filled: estimator.predict_proba(filled)[:, 1]


def _refuse_unfitted(estimator: Any) -> None:
    try:
        import_module("sklearn.utils.validation").check_is_fitted(estimator)
    except import_module("sklearn.exceptions").NotFittedError:
        raise InvalidInput(
            f"{type(estimator).__name__} has not been fitted.", next_step="call its fit first."
        ) from None


def _is_sklearn(estimator: object) -> bool:
    return type_of(estimator)[0] == "sklearn" and hasattr(estimator, "predict")


def _is_estimator(thing: object) -> bool:
    # Not by `predict`, which an estimator that is made of others may have only when it is fitted. A class is none yet.
    if type_of(thing)[0] != "sklearn" or not hasattr(thing, "fit"):
        return False
    base = import_module("sklearn.base")
    return bool(hasattr(thing, "predict") or base.is_classifier(thing) or base.is_regressor(thing))


SKLEARN = Flavor(
    name="sklearn",
    file="model.skops",
    owns=_is_sklearn,
    write=lambda estimator: settled(import_module("skops.io").dumps(estimator)),
    read=_read_sklearn,
    width=lambda estimator: getattr(estimator, "n_features_in_", None),
    predict=_predict_sklearn,
    trains=_is_estimator,
)
