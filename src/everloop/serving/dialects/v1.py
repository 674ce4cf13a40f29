"""KServe's version 1 protocol (`:predict`), which TensorFlow Serving's row format shares: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from everloop.errors import InvalidInput, shown
from everloop.models.compiled import CompiledSignature
from everloop.records.serving import Scalar, Value
from everloop.serving.dialects.dialect import Dialect
from everloop.serving.errors import refuse
from everloop.serving.looks import list_models, model_ready
from everloop.serving.protocol import (
    InferenceRequest,
    InferenceResponse,
    Parameter,
    checked_id,
    checked_rows,
    decode,
)


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    instances: list[list[Scalar] | dict[str, Scalar]]
    signature_name: str = "serving_default"
    id: str | None = None
    parameters: dict[str, Parameter] | None = None


class _Response(msgspec.Struct):
    predictions: Sequence[Value | dict[str, Value]]
    prediction_id: str
    model_name: str
    model_version: str


_decoder = msgspec.json.Decoder(_Request)
_encode = msgspec.json.Encoder().encode


def read(body: bytes, signature: CompiledSignature) -> InferenceRequest:
    """Decode `{"instances": [{input: value, …} or [values in the signature's order], …]}`.

    `id` and `parameters` may stand beside it and mean what they mean in version 2.
    Raises InvalidInput that names the instance, the input and what is expected.
    """
    sent = decode(_decoder, body)
    if sent.signature_name != "serving_default":
        raise InvalidInput(
            f"signature_name is {shown(sent.signature_name)}; expected 'serving_default' or none.",
            next_step="leave it out.",
        )
    rows = checked_rows(len(sent.instances))
    return InferenceRequest(
        signature=signature,
        columns=signature.from_rows(sent.instances),
        rows=rows,
        id=checked_id(sent.id),
        parameters=sent.parameters or {},
    )


def write(response: InferenceResponse) -> bytes:
    """Encode an answer: one prediction for each instance, in order.

    It is the value itself where the model has one output, and an object by output where it has several.
    """
    answer = _Response(_predictions(response), response.prediction_id, response.model, str(response.version))
    return _encode(answer)


def _predictions(response: InferenceResponse) -> Sequence[Value | dict[str, Value]]:
    columns = [response.values[field.name] for field in response.outputs]
    if len(columns) == 1:
        return columns[0]
    names = [field.name for field in response.outputs]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


V1 = Dialect(
    name="v1",
    routes={
        "/v1/models": list_models,
        "/v1/models/{model}": model_ready,
        "/v1/models/{model}:predict": None,
        "/v1/models/{model}/versions/{version}:predict": None,
    },
    read=read,
    write=write,
    refuse=refuse,
)
