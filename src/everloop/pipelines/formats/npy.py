"""Plain numpy arrays as numpy's own files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from everloop.pipelines.formats.format import Format, Slot
from everloop.storage.blobs import BlobWriter


def _owns(value: object, _hint: Any) -> bool:
    # A masked array or a matrix would come back as a plain array, so only plain ones are taken.
    return (
        isinstance(value, np.ndarray) and type(value) in (np.ndarray, np.memmap) and not value.dtype.hasobject
    )


def _write(array: np.ndarray, blob: BlobWriter, _slot: Slot) -> None:
    np.save(blob, array, allow_pickle=False)


def _read(file: io.BufferedReader, _slot: Slot) -> object:
    return np.load(file, allow_pickle=False)


NPY = Format(name="npy", owns=_owns, write=_write, read=_read)
