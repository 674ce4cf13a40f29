"""Bytes as they are."""

from __future__ import annotations

import io
from typing import Any

from everloop.pipelines.formats.format import Format, Slot
from everloop.storage.blobs import BlobWriter


def _owns(value: object, _hint: Any) -> bool:
    return isinstance(value, bytes)


def _write(value: bytes, blob: BlobWriter, _slot: Slot) -> None:
    blob.write(value)


def _read(file: io.BufferedReader, _slot: Slot) -> object:
    return file.read()


RAW = Format(name="bytes", owns=_owns, write=_write, read=_read)
