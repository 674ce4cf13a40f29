"""The kinds of estimator we keep: each with a file format that runs no code when it is read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from everloop.errors import Corrupted, InvalidInput, Refused, Unsupported
from everloop.settings import Trust
from everloop.training.skops_bytes import settled

Predict = Callable[[np.ndarray], np.ndarray]


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
        raise Corrupted(f"the model has no file {flavor.file}.")
    return flavor.read(files[flavor.file], trust)


def _type_of(estimator: object) -> tuple[str, str]:
    return type(estimator).__module__.split(".")[0], type(estimator).__name__


def _only_one_score(kind: str, scores: int) -> None:
    if scores != 1:
        raise Unsupported(
            f"this {kind} gives {scores} scores for a row; everloop keeps models that give one.",
            next_step="train one model for each class.",
        )


# LightGBM: its own text format.
def _read_booster(data: bytes, _trust: Trust) -> object:
    return import_module("lightgbm").Booster(model_str=data.decode())


def _predict_booster(booster: Any) -> Predict:
    _only_one_score("booster", booster.num_model_per_iteration())
    # One thread: a server answers many small requests, and starting a team of threads costs more than a row.
    return lambda filled: booster.predict(filled, num_threads=1)


# scikit-learn: skops, whose loader builds only types that are on a list. These are on it although skops leaves them
# to the user: each is data to its library, and making one from a file sets its fields and calls nothing else.
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
    _only_one_score("classifier", classes.size - 1)
    return lambda filled: estimator.predict_proba(filled)[:, 1]


def _refuse_unfitted(estimator: Any) -> None:
    try:
        import_module("sklearn.utils.validation").check_is_fitted(estimator)
    except import_module("sklearn.exceptions").NotFittedError:
        raise InvalidInput(
            f"{type(estimator).__name__} has not been fitted.", next_step="call its fit first."
        ) from None


def _is_sklearn(estimator: object) -> bool:
    return _type_of(estimator)[0] == "sklearn" and hasattr(estimator, "predict")


# ONNX: data only; a graph that points at files outside itself is refused.
def _write_onnx(graph: Any) -> bytes:
    return bytes(graph.SerializeToString(deterministic=True))


def _read_onnx(data: bytes, _trust: Trust) -> object:
    return _need("onnx").load_model_from_string(data)


def _predict_onnx(graph: Any) -> Predict:
    _refuse_outside_data(graph)
    runtime = _need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings are about shapes; what fails raises
    session = runtime.InferenceSession(_write_onnx(graph), options, providers=["CPUExecutionProvider"])
    source = _only_input(session)
    dtype = _ONNX_DTYPES[source.type]
    answer = session.get_outputs()[-1]
    if not answer.type.startswith("tensor("):
        raise Unsupported(
            "the ONNX model answers with maps and not with numbers.",
            next_step="convert it with options={'zipmap': False}.",
        )

    def predict(filled: np.ndarray) -> np.ndarray:
        scores = np.asarray(session.run([answer.name], {source.name: filled.astype(dtype)})[0])
        if scores.ndim == 2 and scores.shape[1] == 2:
            return scores[:, 1]
        _only_one_score("ONNX model", scores.shape[1] if scores.ndim == 2 else 1)
        return scores

    return predict


_ONNX_DTYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32}


def _only_input(session: Any) -> Any:
    sources = session.get_inputs()
    if len(sources) != 1 or sources[0].type not in _ONNX_DTYPES:
        told = ", ".join(f"{source.name} {source.type}" for source in sources)
        raise Unsupported(
            f"the ONNX model takes {told}; everloop gives it one matrix of float or double.",
            next_step="convert it with one input of shape (rows, columns).",
        )
    return sources[0]


def _onnx_width(graph: Any) -> int | None:
    shapes = [list(source.type.tensor_type.shape.dim) for source in graph.graph.input]
    return int(shapes[0][1].dim_value) or None if shapes and len(shapes[0]) == 2 else None


def _refuse_outside_data(graph: Any) -> None:
    external = _need("onnx").TensorProto.EXTERNAL
    if any(tensor.data_location == external for tensor in _tensors(graph)):
        raise Refused("the ONNX model keeps its weights outside its file.", next_step="save it as one file.")


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor anywhere in a graph: in its weights, its nodes, its subgraphs and its functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if _is_many(value) else (value,):
                yield from _tensors(part)


def _is_many(value: Any) -> bool:
    return not hasattr(value, "ListFields")


def _need(package: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError:
        raise Unsupported(f"ONNX models need {package}.", next_step="pip install 'everloop[onnx]'.") from None


FLAVORS = (
    Flavor(
        name="lightgbm",
        file="model.txt",
        owns=lambda estimator: _type_of(estimator) == ("lightgbm", "Booster"),
        write=lambda booster: booster.model_to_string().encode(),
        read=_read_booster,
        width=lambda booster: booster.num_feature(),
        predict=_predict_booster,
    ),
    Flavor(
        name="sklearn",
        file="model.skops",
        owns=_is_sklearn,
        write=lambda estimator: settled(import_module("skops.io").dumps(estimator)),
        read=_read_sklearn,
        width=lambda estimator: getattr(estimator, "n_features_in_", None),
        predict=_predict_sklearn,
    ),
    Flavor(
        name="onnx",
        file="model.onnx",
        owns=lambda estimator: _type_of(estimator) == ("onnx", "ModelProto"),
        write=_write_onnx,
        read=_read_onnx,
        width=_onnx_width,
        predict=_predict_onnx,
    ),
)
