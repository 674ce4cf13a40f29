"""Open Inference Protocol, version 2, over REST: bytes to a request, and an answer to bytes."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

import msgspec

from everloop.errors import InvalidInput, shown
from everloop.models.compiled import CompiledSignature
from everloop.records.models import Field
from everloop.records.serving import Scalar, Value
from everloop.serving.dialects.dialect import Dialect
from everloop.serving.errors import refuse
from everloop.serving.looks import list_models, live, model_ready, ready
from everloop.serving.planes import Planes
from everloop.serving.protocol import (
    InferenceRequest,
    InferenceResponse,
    Parameter,
    checked_id,
    checked_rows,
    decode,
    version_number,
)

Parameters: TypeAlias = dict[str, Parameter] | None


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Scalar | list[Scalar]] | None = None
    parameters: Parameters = None


class _Wanted(msgspec.Struct):
    name: str
    parameters: Parameters = None


class _Request(msgspec.Struct):
    # Members that are not named here are skipped: KServe's client adds `model_name`, and the protocol lets it.
    inputs: list[_Tensor]
    id: str | None = None
    parameters: Parameters = None
    outputs: list[_Wanted] | None = None


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Sequence[Value]


class _Response(msgspec.Struct):
    model_name: str
    model_version: str
    id: str
    parameters: dict[str, str]
    outputs: list[_Output]


_decoder = msgspec.json.Decoder(_Request)
_encode = msgspec.json.Encoder().encode


def read(body: bytes, signature: CompiledSignature) -> InferenceRequest:
    """Decode an inference request and hold it against the signature.

    Raises InvalidInput that names the tensor, what is wrong with it and what is expected.
    """
    sent = decode(_decoder, body)
    rows = _rows(sent.inputs)
    shapes = ([rows], [rows, 1])
    columns: dict[str, Sequence[Scalar]] = {}
    for tensor in sent.inputs:
        data = tensor.data
        if data is None or len(data) != rows or tensor.shape not in shapes or tensor.name in columns:
            raise _refusal(tensor, rows, columns)
        # A list further down is refused as a value of the wrong type.
        values = _unpacked(tensor, data) if type(data[0]) is list else data
        columns[tensor.name] = signature.column(tensor.name, tensor.datatype, values)  # type: ignore[arg-type]
    signature.check_names(columns)
    _check_outputs(sent, signature)
    return InferenceRequest(
        signature=signature,
        columns=columns,
        rows=rows,
        wanted=[output.name for output in sent.outputs or ()],
        id=checked_id(sent.id),
        parameters=sent.parameters or {},
    )


def write(response: InferenceResponse) -> bytes:
    """Encode an answer; `parameters.prediction_id` is what labels name.

    >>> from everloop.records.models import Datatype
    >>> from everloop.records.serving import Arm
    >>> score = Field(name="score", datatype=Datatype.FP64)
    >>> write(InferenceResponse(id="7", prediction_id="p", model="late", version=3, arm=Arm.STABLE,
    ...                         outputs=[score], values={"score": [0.25]})).decode()[:54]
    '{"model_name":"late","model_version":"3","id":"7","par'
    """
    outputs = [_output(field, response.values[field.name]) for field in response.outputs]
    parameters = {"prediction_id": response.prediction_id, "arm": response.arm.value}
    return _encode(_Response(response.model, str(response.version), response.id, parameters, outputs))


def _output(field: Field, values: Sequence[Value]) -> _Output:
    return _Output(
        field.name, [len(values), *field.shape], field.datatype.value, _flat(values, len(field.shape))
    )


def _flat(values: Sequence[Value], depth: int) -> Sequence[Value]:
    """The values in row-major order, as the protocol has them."""
    for _ in range(depth):
        values = [inner for outer in values for inner in outer]  # type: ignore[union-attr]
    return values


def _metadata(model: str, versions: Sequence[int], signature: CompiledSignature) -> bytes:
    """What a model takes and gives, in the protocol's words."""
    described = {
        "name": model,
        "versions": [str(version) for version in versions],
        "platform": "everloop",
        "inputs": [_describe(field) for field in signature.declared.inputs],
        "outputs": [_describe(field) for field in signature.declared.outputs],
    }
    return _encode(described)


def _describe(field: Field) -> dict[str, object]:
    return {"name": field.name, "datatype": field.datatype.value, "shape": [-1, *field.shape]}


def _rows(tensors: Sequence[_Tensor]) -> int:
    if not tensors:
        raise InvalidInput(
            "inputs is empty; expected one tensor for each input of the model.", next_step="send them."
        )
    shape = tensors[0].shape
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1) or shape[0] < 0:
        raise _wrong_shape(tensors[0], "[n] or [n, 1] for n rows")
    return checked_rows(shape[0])


def _refusal(tensor: _Tensor, rows: int, columns: Container[str]) -> InvalidInput:
    if tensor.name in columns:
        return InvalidInput(f"input {shown(tensor.name)} is sent twice.", next_step="send it once.")
    if tensor.data is None:
        return InvalidInput(
            f"input {shown(tensor.name)} has no data; {_why_no_data(tensor)}",
            next_step="send its values in `data`.",
        )
    if tensor.shape not in ([rows], [rows, 1]):
        return _wrong_shape(tensor, f"[{rows}] or [{rows}, 1] as in the first input")
    return InvalidInput(
        f"input {shown(tensor.name)} has {len(tensor.data)} values for shape {tensor.shape}.",
        next_step="send as many values as the shape says.",
    )


def _unpacked(tensor: _Tensor, data: Sequence[Scalar | list[Scalar]]) -> list[Scalar]:
    # Row-major data may come as it is nested: [[1], [2]] for the shape [2, 1].
    values: list[Scalar] = []
    for row, value in enumerate(data):
        if len(tensor.shape) != 2 or not isinstance(value, list) or len(value) != 1:
            raise InvalidInput(
                f"input {shown(tensor.name)}, row {row} does not fit shape {tensor.shape}; "
                "expected one value, nested only in the shape [n, 1] and then in every row.",
                next_step="send one value for each row.",
            )
        values.append(value[0])
    return values


def _wrong_shape(tensor: _Tensor, expected: str) -> InvalidInput:
    return InvalidInput(
        f"input {shown(tensor.name)} has shape {shown(tensor.shape)}; expected {expected}.",
        next_step="send it in that shape.",
    )


def _why_no_data(tensor: _Tensor) -> str:
    if "binary_data_size" in (tensor.parameters or {}):
        return "binary tensors are not supported, so send the values as JSON (binary_data=False)."
    return "expected its values in row order."


def _check_outputs(sent: _Request, signature: CompiledSignature) -> None:
    wanted = sent.outputs or ()
    if wanted:
        signature.check_outputs(output.name for output in wanted)
    binary = sent.parameters and sent.parameters.get("binary_data_output")
    if binary or any((output.parameters or {}).get("binary_data") for output in wanted):
        raise InvalidInput(
            "outputs are asked for in binary; only JSON is supported, so ask with binary_data=False.",
            next_step="leave `binary_data` out, or set it to false.",
        )
    if any("classification" in (output.parameters or {}) for output in wanted):
        raise InvalidInput(
            "output parameter 'classification' is not supported; take the scores as they are.",
            next_step="leave it out.",
        )


def _describe_server(_planes: Planes, _path: Mapping[str, str]) -> tuple[int, bytes]:
    return 200, _encode({"name": "everloop", "version": _release(), "extensions": []})


def _describe_model(planes: Planes, path: Mapping[str, str]) -> tuple[int, bytes]:
    plane = planes.get(path["model"])
    revision = plane.revision(version_number(path.get("version")))
    return 200, _metadata(path["model"], plane.versions, revision.signature)


def _release() -> str:
    try:
        return version("everloop")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0"


V2 = Dialect(
    name="v2",
    routes={
        "/v2": _describe_server,
        "/v2/": _describe_server,
        "/v2/health/live": live,
        "/v2/health/ready": ready,
        "/v2/models": list_models,
        "/v2/models/{model}": _describe_model,
        "/v2/models/{model}/ready": model_ready,
        "/v2/models/{model}/infer": None,
        "/v2/models/{model}/versions/{version}": _describe_model,
        "/v2/models/{model}/versions/{version}/ready": model_ready,
        "/v2/models/{model}/versions/{version}/infer": None,
    },
    read=read,
    write=write,
    refuse=refuse,
)
