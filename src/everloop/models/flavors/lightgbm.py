"""LightGBM's boosters, in its own text format; of its scikit-learn wrappers (`LGBMClassifier`, …) the booster is kept."""

from importlib import import_module
from typing import Any

from everloop.models.flavors.flavor import Flavor, Predict, refuse_many_scores, type_of
from everloop.settings import Trust


def _read_booster(data: bytes, _trust: Trust) -> object:
    return import_module("lightgbm").Booster(model_str=data.decode())


def _predict_booster(booster: Any) -> Predict:
    refuse_many_scores("booster", booster.num_model_per_iteration())
    # One thread: a server answers many small requests, and starting a team of threads costs more than a row.
    return lambda filled: booster.predict(filled, num_threads=1)


def _is_wrapper(estimator: object) -> bool:
    # By its classes' module, because before `fit` it has no `booster_`.
    return hasattr(estimator, "fit") and any(
        kind.__module__.split(".")[0] == "lightgbm" for kind in type(estimator).__mro__
    )


LIGHTGBM = Flavor(
    name="lightgbm",
    file="model.txt",
    owns=lambda estimator: type_of(estimator) == ("lightgbm", "Booster"),
    write=lambda booster: booster.model_to_string().encode(),
    read=_read_booster,
    width=lambda booster: booster.num_feature(),
    predict=_predict_booster,
    trains=_is_wrapper,
    kept=lambda wrapper: wrapper.booster_,
)
