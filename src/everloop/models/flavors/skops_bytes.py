"""Equal estimators, equal bytes: a skops archive without the addresses and times of the process that wrote it.

With one of them left in, the same training gives another digest each time, and so a version of its own; whatever was
read from the model is read anew. `test_equal_models_have_equal_digests` in `tests/models/test_model.py` shows it.
"""

import io
import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np

_SCHEMA = "schema.json"


def settled(archive: bytes) -> bytes:
    """The same archive with its objects numbered in their order, its files named after them, and no dates.

    skops names objects by their address in memory, so that one estimator written twice has two digests.
    """
    with ZipFile(io.BytesIO(archive)) as given:
        schema = json.loads(given.read(_SCHEMA))
        names = _settle(schema)
        files = {new: _without_gaps(given.read(old)) for old, new in names.items()}
    files[_SCHEMA] = json.dumps(schema, separators=(",", ":")).encode()
    kept = io.BytesIO()
    with ZipFile(kept, "w") as target:
        for name in sorted(files):
            target.writestr(ZipInfo(name), files[name])  # ZipInfo's own date is 1980, whatever the clock says
    return kept.getvalue()


def _settle(schema: dict[str, Any]) -> dict[str, str]:
    """Number every object in place; returns the files' new names by their old ones."""
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}
    for node in _nodes(schema):
        if isinstance(node.get("__id__"), int):
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        if "file" in node and "__loader__" in node:
            node["file"] = names.setdefault(
                node["file"], f"{len(names) + 1:06}{PurePath(node['file']).suffix}"
            )
    return names


def _without_gaps(data: bytes) -> bytes:
    """An array of records has gaps between its fields, and in them what was in memory before."""
    if not data.startswith(np.lib.format.MAGIC_PREFIX):
        return data
    records = np.load(io.BytesIO(data), allow_pickle=False)
    if records.dtype.names is None:
        return data
    clean = np.zeros(records.shape, records.dtype)  # zeros_like would leave the gaps as they come
    for name in records.dtype.names:
        clean[name] = records[name]
    kept = io.BytesIO()
    np.save(kept, clean, allow_pickle=False)
    return kept.getvalue()


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _nodes(inner)
