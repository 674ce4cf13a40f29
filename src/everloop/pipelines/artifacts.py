"""Values to files and back: what a step returns is kept in a format that runs no code when it is read."""

from __future__ import annotations

import io
import logging
import pickle
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from everloop.errors import Corrupted, InvalidInput, NotFound, Refused, Unsupported
from everloop.models.model import Model
from everloop.models.saving import load_model, save_model
from everloop.pipelines.hints import SINGLE, describe_type, fits, is_record, output_fields
from everloop.records.runs import ArtifactRef
from everloop.settings import Trust
from everloop.storage.blobs import Blobs

_logger = logging.getLogger(__name__)


class Saved(NamedTuple):
    """What was written, and the value itself where the next step may have it without reading it again."""

    ref: ArtifactRef
    table: pa.Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """Writes and reads the artifacts of one pipeline.

    A step gets what was kept, never the object that another step returned: a fresh run, a cached and a resumed one see the
    same value, what is judged is what will be served, and nobody can change a value under somebody else's hands. Only a
    table, which cannot be changed, is handed on without reading it, where reading would give the same table.
    """

    blobs: Blobs
    trust: Trust
    pipeline: str

    def save(self, name: str, value: object, hint: Any) -> Saved:
        """Keep a value; raises InvalidInput when it is not of the type that the step promised."""
        check_type(name, value, hint)
        if isinstance(value, Model):
            digest = save_model(self.blobs, value)
            size = len(self.blobs.get(digest))
            return Saved(ArtifactRef(name=name, digest=digest, format="model", size=size), None)
        format, data = self._encode(name, value, hint)
        ref = ArtifactRef(name=name, digest=self.blobs.put(data), format=format, size=len(data))
        return Saved(ref, value if isinstance(value, pa.Table) and _comes_back(value, data) else None)

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
        if ref.format == "json":
            return self._from_json(ref, data, hint)
        if ref.format == "pickle":
            self._check_pickle(ref.name)
            return pickle.loads(data)  # noqa: S301 - only for pipelines that the operator has named
        raise Unsupported(
            f"artifact {ref.name!r} is in the format {ref.format!r}.", next_step="upgrade everloop."
        )

    def is_intact(self, ref: ArtifactRef) -> bool:
        """Whether all of it can still be read."""
        try:
            if ref.format == "model":
                load_model(self.blobs, ref.digest, trust=self.trust)
            else:
                self.blobs.get(ref.digest)
        except (NotFound, Corrupted) as error:
            _logger.warning("%s, so it is made anew", error.reason.rstrip("."))
            return False
        return True

    def _encode(self, name: str, value: object, hint: Any) -> tuple[str, bytes]:
        if isinstance(value, pa.Table):
            return "parquet", _parquet(name, value)
        # A masked array or a matrix would come back as a plain array, so only plain ones are taken.
        if (
            isinstance(value, np.ndarray)
            and type(value) in (np.ndarray, np.memmap)
            and not value.dtype.hasobject
        ):
            sink = io.BytesIO()
            np.save(sink, value, allow_pickle=False)
            return "npy", sink.getvalue()
        if isinstance(value, bytes):
            return "bytes", value
        data = _json(value, hint)
        return ("json", data) if data is not None else ("pickle", self._pickle(name, value))

    def _from_json(self, ref: ArtifactRef, data: bytes, hint: Any) -> object:
        try:
            return msgspec.json.decode(data, type=hint)
        except msgspec.MsgspecError as error:
            raise Corrupted(
                f"artifact {ref.name!r} does not hold what its type hint says: {error}.",
                next_step="run the pipeline again: its step is done anew when its code has changed.",
            ) from error

    def _pickle(self, name: str, value: object) -> bytes:
        if self.pipeline not in self.trust.pickle:
            kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
            raise InvalidInput(
                f"output {name!r} is a {kind} that no format which is safe to load gives back as it was.",
                next_step="return a pa.Table, a plain numpy array, a Model, a dataclass or plain values (finite, text as "
                "keys), hinted with their own types, several of them as a NamedTuple; or list the pipeline under "
                f"pickle in [trust] of everloop.toml: pickle = [{self.pipeline!r}].",
            )
        try:
            return pickle.dumps(value, protocol=5)
        except Exception as error:  # a class may fail in any way while it is pickled
            raise InvalidInput(
                f"output {name!r} cannot be pickled: {error}.",
                next_step="return plain values, or what can be pickled.",
            ) from error

    def _check_pickle(self, name: str) -> None:
        if self.pipeline not in self.trust.pickle:
            raise Refused(
                f"artifact {name!r} is a pickle, and [trust] in everloop.toml does not name {self.pipeline!r}.",
                next_step=f"name it there, if you trust whoever can write its code: pickle = [{self.pipeline!r}].",
            )


def check_type(name: str, value: object, hint: Any) -> None:
    """Refuse a value that is not what the type hint says."""
    if isinstance(value, types.GeneratorType):
        raise InvalidInput(
            f"output {name!r} is a generator, which can be read once only.", next_step="return a list."
        )
    if not fits(type(value), hint):
        raise InvalidInput(
            f"output {name!r} is a {type(value).__name__}; its type hint says {describe_type(hint)}.",
            next_step="return what the hint says, or change the hint.",
        )


def take_apart(value: object, returns: Any) -> dict[str, object]:
    """The named outputs of what a step returned."""
    fields = output_fields(returns)
    if not fields and value is not None:
        raise InvalidInput(
            f"it returned a {type(value).__name__}; its type hint says None.",
            next_step="say in the hint what it returns.",
        )
    if not is_record(returns):
        return {SINGLE: value} if fields else {}
    if not isinstance(value, tuple) or len(value) != len(fields):
        raise InvalidInput(
            f"it returned a {type(value).__name__}; its type hint says {describe_type(returns)} with {', '.join(fields)}.",
            next_step="return all of these, or change the hint.",
        )
    return dict(zip(fields, value, strict=True))


def _parquet(name: str, table: pa.Table) -> bytes:
    sink = io.BytesIO()
    try:
        pq.write_table(table, sink)
    except pa.ArrowException as error:
        raise InvalidInput(
            f"output {name!r} has a column that Parquet cannot hold: {error}.",
            next_step="cast it to a type that Parquet has.",
        ) from None
    return sink.getvalue()


def _comes_back(table: pa.Table, data: bytes) -> bool:
    # Parquet knows fewer types than Arrow. Where one was changed, the next step must see the changed one, or a run that is
    # resumed would go on with another table than the one that was not.
    return bool(pq.read_schema(pa.BufferReader(data)).equals(table.schema, check_metadata=True))


def _json(value: object, hint: Any) -> bytes | None:
    """The value as JSON; None when it would not come back as it was: NaN, keys that are no text, foreign types."""
    try:
        data = msgspec.json.encode(value, order="sorted", enc_hook=_scalar)
        same = bool(msgspec.json.decode(data, type=hint) == value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None
    return data if same else None


def _scalar(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value))


def collect_metrics(outputs: Mapping[str, object]) -> dict[str, float]:
    """What the outputs say was measured: those with a method `metrics` that gives numbers by name."""
    found: dict[str, float] = {}
    for value in outputs.values():
        measure = getattr(value, "metrics", None)
        if callable(measure) and not isinstance(value, type):
            found |= {str(name): float(number) for name, number in measure().items()}
    return found
