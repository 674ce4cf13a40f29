"""Models as a manifest that names their files, which are blobs of their own."""

from __future__ import annotations

import io
from typing import Any

from everloop.models.model import Model
from everloop.models.saving import read_manifest, write_files
from everloop.pipelines.formats.format import Format, Slot
from everloop.storage.blobs import BlobWriter


def _owns(value: object, _hint: Any) -> bool:
    return isinstance(value, Model)


def _write(model: Model, blob: BlobWriter, slot: Slot) -> None:
    blob.write(write_files(slot.blobs, model))


def _read(file: io.BufferedReader, slot: Slot) -> object:
    return read_manifest(file.read(), slot.blobs, trust=slot.trust)


MODEL = Format(name="model", owns=_owns, write=_write, read=_read, names_others=True)
