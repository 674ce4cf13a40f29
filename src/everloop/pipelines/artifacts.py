"""Values to files and back: what a step returns is kept in a format that runs no code when it is read."""

from __future__ import annotations

import io
import pickle
import types
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from everloop.errors import InvalidInput, Refused
from everloop.pipelines.graph import fits
from everloop.records.runs import ArtifactRef
from everloop.settings import Trust
from everloop.storage.blobs import Blobs
from everloop.storage.codec import dumps
from everloop.training.model import Model, load_model, save_model

_PLAIN = (bool, int, float, str, types.NoneType, list, tuple, dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """Writes and reads the artifacts of one pipeline."""

    blobs: Blobs
    trust: Trust
    pipeline: str

    def save(self, name: str, value: object, hint: Any) -> ArtifactRef:
        """Keep a value; raises InvalidInput when it is not of the type that the step promised."""
        check_type(name, value, hint)
        if isinstance(value, Model):
            digest = save_model(self.blobs, value)
            return ArtifactRef(name=name, digest=digest, format="model", size=len(self.blobs.get(digest)))
        kind, data = self._encode(name, value)
        return ArtifactRef(name=name, digest=self.blobs.put(data), format=kind, size=len(data))

    def load(self, ref: ArtifactRef, hint: Any) -> object:
        """The value again, its bytes checked against the digest first."""
        if ref.format == "model":
            return load_model(self.blobs, ref.digest, trust=self.trust)
        data = self.blobs.get(ref.digest)
        if ref.format == "parquet":
            return pq.read_table(pa.BufferReader(data))
        if ref.format == "npy":
            return np.load(io.BytesIO(data), allow_pickle=False)
        if ref.format == "bytes":
            return data
        if ref.format == "pickle":
            self._check_pickle(ref.name)
            return pickle.loads(data)  # noqa: S301 - only for pipelines that the operator has named
        return msgspec.json.decode(data, type=hint)

    def _encode(self, name: str, value: object) -> tuple[str, bytes]:
        if isinstance(value, pa.Table):
            sink = io.BytesIO()
            pq.write_table(value, sink)
            return "parquet", sink.getvalue()
        if isinstance(value, np.ndarray) and value.dtype != np.dtype(object):
            sink = io.BytesIO()
            np.save(sink, value, allow_pickle=False)
            return "npy", sink.getvalue()
        if isinstance(value, bytes):
            return "bytes", value
        if isinstance(value, _PLAIN) or (is_dataclass(value) and not isinstance(value, type)):
            return "json", self._json(name, value)
        return self._pickle(name, value)

    def _json(self, name: str, value: object) -> bytes:
        try:
            return dumps(value)
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise InvalidInput(f"output {name!r} cannot be kept as JSON: {error}.") from None

    def _pickle(self, name: str, value: object) -> tuple[str, bytes]:
        if self.pipeline not in self.trust.pickle:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise InvalidInput(
                f"output {name!r} is a {kind}, which has no format that is safe to load.",
                next_step="return a pa.Table, a numpy array, a Model, a dataclass or plain values; or list the "
                f"pipeline under pickle in [trust] of everloop.toml: pickle = [{self.pipeline!r}].",
            )
        return "pickle", pickle.dumps(value, protocol=5)

    def _check_pickle(self, name: str) -> None:
        if self.pipeline not in self.trust.pickle:
            raise Refused(
                f"output {name!r} is a pickle, and [trust] in everloop.toml does not name {self.pipeline!r}."
            )


def check_type(name: str, value: object, hint: Any) -> None:
    """Refuse a value that is not what the type hint says."""
    if isinstance(value, types.GeneratorType):
        raise InvalidInput(
            f"output {name!r} is a generator, which can be read once only.", next_step="return a list."
        )
    if not fits(type(value), hint):
        wanted = getattr(hint, "__name__", str(hint))
        raise InvalidInput(f"output {name!r} is a {type(value).__name__}; its type hint says {wanted}.")


def take_apart(value: object, fields: Mapping[str, Any]) -> dict[str, object]:
    """The named outputs of what a step returned."""
    if not fields:
        if value is not None:
            raise InvalidInput(f"it returned a {type(value).__name__}; its type hint says None.")
        return {}
    if len(fields) == 1 and "output" in fields:
        return {"output": value}
    if not isinstance(value, tuple) or len(value) != len(fields):
        raise InvalidInput(f"it returned a {type(value).__name__}; its type hint says {', '.join(fields)}.")
    return dict(zip(fields, value, strict=True))


def is_safe_to_share(value: object) -> bool:
    """Whether a later step may get the very object: a table, a model and a frozen record cannot be changed."""
    if isinstance(value, pa.Table | Model | bool | int | float | str | bytes | types.NoneType):
        return True
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen
