"""The libraries whose estimators we keep: one file and one line of `FLAVORS` each; no format runs code when it is read."""

from collections.abc import Mapping

from everloop.errors import Corrupted, Unsupported
from everloop.models.flavors.flavor import Flavor
from everloop.models.flavors.lightgbm import LIGHTGBM
from everloop.models.flavors.onnx import ONNX
from everloop.models.flavors.sklearn import SKLEARN
from everloop.settings import Trust

FLAVORS = (LIGHTGBM, SKLEARN, ONNX)
"""The first one that owns an estimator keeps it."""


def flavor_of(estimator: object) -> Flavor:
    """The flavor that keeps this estimator; raises Unsupported for what has none."""
    for flavor in FLAVORS:
        if flavor.owns(estimator):
            return flavor
    kind = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    inner = "its booster_" if hasattr(estimator, "booster_") else "a LightGBM Booster"
    raise Unsupported(
        f"{kind} is not an estimator that can be kept without running code when it is loaded.",
        next_step=f"use {inner}, a scikit-learn estimator or an ONNX model.",
    )


def load(name: str, files: Mapping[str, bytes], *, trust: Trust) -> object:
    """The estimator that these files hold."""
    flavor = next((flavor for flavor in FLAVORS if flavor.name == name), None)
    if flavor is None:
        raise Corrupted(f"there is no model flavor {name!r}.", next_step="upgrade everloop.")
    if flavor.file not in files:
        raise Corrupted(
            f"the model has no file {flavor.file}.", next_step="restore the artifacts from a backup."
        )
    return flavor.read(files[flavor.file], trust)
