"""The kinds of estimator we keep: each with a file format that runs no code when it is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from everloop.errors import Corrupted, Refused, Unsupported
from everloop.settings import Trust

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """How one library's estimators are recognised, written, read and asked."""

    name: str
    owns: Callable[[object], bool]
    write: Callable[[Any], Mapping[str, bytes]]
    read: Callable[[Mapping[str, bytes], Trust], object]
    predict: Callable[[Any], Predict]


def dump(estimator: object) -> tuple[str, Mapping[str, bytes], Predict]:
    """The flavor's name, the estimator's files, and the function that scores a matrix."""
    for flavor in FLAVORS:
        if flavor.owns(estimator):
            return flavor.name, flavor.write(estimator), flavor.predict(estimator)
    kind = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    raise Unsupported(
        f"{kind} is not an estimator that can be kept without running code when it is loaded.",
        next_step="use a LightGBM Booster, a fitted scikit-learn estimator or an ONNX model.",
    )


def load(name: str, files: Mapping[str, bytes], *, trust: Trust) -> object:
    """The estimator that these files hold."""
    for flavor in FLAVORS:
        if flavor.name == name:
            return flavor.read(files, trust)
    raise Corrupted(f"there is no model flavor {name!r}.", next_step="upgrade everloop.")


def _from(package: str) -> Callable[[object], bool]:
    return lambda estimator: type(estimator).__module__.split(".")[0] == package


# LightGBM: its own text format.
def _write_booster(booster: Any) -> Mapping[str, bytes]:
    return {"model.txt": booster.model_to_string().encode()}


def _read_booster(files: Mapping[str, bytes], _trust: Trust) -> object:
    return import_module("lightgbm").Booster(model_str=files["model.txt"].decode())


def _predict_booster(booster: Any) -> Predict:
    # One thread: a server answers many small requests, and starting a team of threads costs more than a row.
    return lambda filled: booster.predict(filled, num_threads=1)


# scikit-learn: skops, whose loader builds only types that are on a list.
_SKOPS_TRUSTED = (
    "numpy.dtype",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.loss.HalfBinomialLoss",
)


def _write_sklearn(estimator: Any) -> Mapping[str, bytes]:
    return {"model.skops": import_module("skops.io").dumps(estimator)}


def _read_sklearn(files: Mapping[str, bytes], trust: Trust) -> object:
    skops = import_module("skops.io")
    allowed = {*_SKOPS_TRUSTED, *trust.skops}
    unknown = [kind for kind in skops.get_untrusted_types(data=files["model.skops"]) if kind not in allowed]
    if unknown:
        raise Refused(
            f"the model holds types that nobody has trusted: {', '.join(unknown)}.",
            next_step="if you know them, list them under skops in the [trust] section of everloop.toml.",
        )
    return skops.loads(files["model.skops"], trusted=sorted(allowed))


def _predict_sklearn(estimator: Any) -> Predict:
    if hasattr(estimator, "predict_proba"):
        return lambda filled: estimator.predict_proba(filled)[:, 1]
    return lambda filled: estimator.predict(filled)


# ONNX: data only; a graph that points at files outside itself is refused.
def _write_onnx(graph: Any) -> Mapping[str, bytes]:
    return {"model.onnx": graph.SerializeToString(deterministic=True)}


def _read_onnx(files: Mapping[str, bytes], _trust: Trust) -> object:
    onnx = _need("onnx")
    graph = onnx.load_model_from_string(files["model.onnx"])
    for tensor in graph.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise Refused(
                "the ONNX model keeps its weights outside its file.", next_step="save it as one file."
            )
    return graph


def _predict_onnx(graph: Any) -> Predict:
    runtime = _need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    dtype = np.float64 if source.type == "tensor(double)" else np.float32

    def predict(filled: np.ndarray) -> np.ndarray:
        answers = session.run(None, {source.name: filled.astype(dtype)})
        last = np.asarray(answers[-1])
        return last[:, 1] if last.ndim == 2 and last.shape[1] == 2 else last

    return predict


def _need(package: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError:
        raise Unsupported(f"ONNX models need {package}.", next_step="pip install 'everloop[onnx]'.") from None


FLAVORS = (
    Flavor(
        name="lightgbm",
        owns=_from("lightgbm"),
        write=_write_booster,
        read=_read_booster,
        predict=_predict_booster,
    ),
    Flavor(
        name="sklearn",
        owns=_from("sklearn"),
        write=_write_sklearn,
        read=_read_sklearn,
        predict=_predict_sklearn,
    ),
    Flavor(name="onnx", owns=_from("onnx"), write=_write_onnx, read=_read_onnx, predict=_predict_onnx),
)
