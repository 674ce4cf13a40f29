"""ONNX graphs: data only; a graph that points at files outside itself is refused."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from everloop.errors import Refused, Unsupported
from everloop.models.flavors.flavor import Flavor, Predict, refuse_many_scores, type_of
from everloop.settings import Trust


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
        refuse_many_scores("ONNX model", scores.shape[1] if scores.ndim == 2 else 1)
        return scores

    return predict


_ONNX_DTYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32}


def _only_input(session: Any) -> Any:
    sources = session.get_inputs()
    if len(sources) != 1 or sources[0].type not in _ONNX_DTYPES:
        names = ", ".join(f"{source.name} {source.type}" for source in sources)
        raise Unsupported(
            f"the ONNX model takes {names}; everloop gives it one matrix of float or double.",
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
        raise Unsupported(f"ONNX models need {package}.", next_step="pip install 'everloop[onnx]'") from None


ONNX = Flavor(
    name="onnx",
    file="model.onnx",
    owns=lambda estimator: type_of(estimator) == ("onnx", "ModelProto"),
    write=_write_onnx,
    read=_read_onnx,
    width=_onnx_width,
    predict=_predict_onnx,
)
