"""Rows from files: Parquet, CSV or JSON lines, one file one batch."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from everloop.data.datasets import append, list_batches
from everloop.errors import InvalidInput, ProjectError
from everloop.records.data import Batch
from everloop.records.datasets import Dataset
from everloop.storage.codec import digest
from everloop.storage.workspace import Workspace

_READERS = {
    ".parquet": pq.read_table,
    ".csv": pacsv.read_csv,
    ".jsonl": pajson.read_json,
}


def append_file(workspace: Workspace, dataset: Dataset, path: Path, *, key: str | None = None) -> Batch:
    """Append one file; its key is its name and the digest of its bytes, so the same file twice is one batch."""
    return append(workspace, dataset, read_file(path), key=key or f"{path.name}@{_digest(path)}")


def collect(workspace: Workspace, dataset: Dataset) -> list[Batch]:
    """Append the files of the dataset's folder that have not been seen yet, in the order of their names.

    Raises ProjectError for a file that was changed after it had been appended: versions never change.
    """
    if not dataset.files:
        return []
    with workspace.database.read() as tx:
        seen = dict(batch.key.rsplit("@", 1) for batch in list_batches(tx, dataset.name) if "@" in batch.key)
    fresh: list[Batch] = []
    for path in sorted(workspace.settings.root.glob(dataset.files)):
        name, now = path.name, _digest(path)
        if name in seen and seen[name] != now:
            raise ProjectError(
                f"{path} was changed after its rows had been appended to dataset {dataset.name}.",
                next_step="put it back as it was, and new rows into a new file.",
            )
        if name not in seen:
            fresh.append(append_file(workspace, dataset, path))
    return fresh


def read_file(path: Path) -> pa.Table:
    """The rows of a file, by its ending."""
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise InvalidInput(f"{path}: a batch is one of {', '.join(_READERS)}.")
    try:
        return reader(path)
    except FileNotFoundError:
        raise InvalidInput(f"{path} does not exist.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.") from None


def _digest(path: Path) -> str:
    try:
        return digest(path.read_bytes())[:16]
    except FileNotFoundError:
        raise InvalidInput(f"{path} does not exist.") from None
