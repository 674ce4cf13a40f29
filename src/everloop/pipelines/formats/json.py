"""Plain values and records as JSON, where they come back as they were."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np

from everloop.errors import Corrupted
from everloop.pipelines.formats.format import Format, Slot
from everloop.storage.blobs import BlobWriter


def _owns(value: object, hint: Any) -> bool:
    """NaN, keys that are no text and foreign types would not come back."""
    try:
        return bool(msgspec.json.decode(_encoded(value), type=hint) == value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return False


def _write(value: object, blob: BlobWriter, _slot: Slot) -> None:
    blob.write(_encoded(value))


def _read(file: io.BufferedReader, slot: Slot) -> object:
    try:
        return msgspec.json.decode(file.read(), type=slot.hint)
    except msgspec.MsgspecError as error:
        raise Corrupted(
            f"artifact {slot.name!r} does not hold what its type hint says: {error}.",
            next_step="run the pipeline again: its step is done anew when its code has changed.",
        ) from error


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted", enc_hook=_scalar)


def _scalar(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value))


JSON = Format(name="json", owns=_owns, write=_write, read=_read)
