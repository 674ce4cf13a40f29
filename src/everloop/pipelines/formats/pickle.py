"""Whatever no other format gives back, where the operator has said that the pipeline may pickle."""

from __future__ import annotations

import io
import pickle
from typing import Any

from everloop.errors import InvalidInput, Refused
from everloop.pipelines.formats.format import Format, Slot
from everloop.storage.blobs import BlobWriter


def _owns(_value: object, _hint: Any) -> bool:
    return True


def _write(value: object, blob: BlobWriter, slot: Slot) -> None:
    if slot.pipeline not in slot.trust.pickle:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise InvalidInput(
            f"output {slot.name!r} is a {kind} that no format which is safe to load gives back as it was.",
            next_step="return a pa.Table, a plain numpy array, a Model, a dataclass or plain values (finite, text as "
            "keys), hinted with their own types, several of them as a NamedTuple; or list the pipeline under "
            f"pickle in [trust] of everloop.toml: pickle = [{slot.pipeline!r}].",
        )
    try:
        pickle.dump(value, blob, protocol=5)
    except Exception as error:  # a class may fail in any way while it is pickled
        raise InvalidInput(
            f"output {slot.name!r} cannot be pickled: {error}.",
            next_step="return plain values, or what can be pickled.",
        ) from error


def _read(file: io.BufferedReader, slot: Slot) -> object:
    if slot.pipeline not in slot.trust.pickle:
        raise Refused(
            f"artifact {slot.name!r} is a pickle, and [trust] in everloop.toml does not name {slot.pipeline!r}.",
            next_step=f"name it there, if you trust whoever can write its code: pickle = [{slot.pipeline!r}].",
        )
    return pickle.load(file)  # noqa: S301 - only for pipelines that the operator has named


PICKLE = Format(name="pickle", owns=_owns, write=_write, read=_read)
