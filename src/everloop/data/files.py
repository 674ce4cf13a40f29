"""Rows from files: Parquet, CSV or JSON lines, one file one batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias
from weakref import WeakKeyDictionary

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from everloop.data.datasets import append, list_accepted, list_settled
from everloop.errors import InvalidInput, ProjectError
from everloop.records.data import Batch
from everloop.records.datasets import Dataset
from everloop.storage.database import Database
from everloop.storage.durable import fresh_name, keep
from everloop.storage.workspace import Workspace

_READERS: Mapping[str, Callable[[Path], pa.Table]] = {
    ".parquet": pq.read_table,
    ".csv": pacsv.read_csv,
    ".jsonl": pajson.read_json,
}
_WRITERS: Mapping[str, Callable[[pa.Table, Path], object]] = {
    ".parquet": pq.write_table,
    ".csv": pacsv.write_csv,
}
_State: TypeAlias = tuple[int, int, int]
"""When a file was changed, which it is on its disk, and how long; equal ones mean that its bytes are the same."""
_settled: WeakKeyDictionary[Database, dict[str, dict[Path, _State]]] = WeakKeyDictionary()
"""For each database and dataset, the files that need not be looked at again while they are as they were.

What is settled stays so, which makes this a memory of answers and no state: a process without it asks once more.
"""


def append_file(workspace: Workspace, dataset: Dataset, path: Path, *, key: str | None = None) -> Batch:
    """Append one file; its key is its place and the digest of its bytes, so the same file twice is one batch."""
    key = key or _key(workspace, path)
    return append(
        workspace, dataset, _widened(read_file(path), path, workspace.tables.types(dataset.name)), key=key
    )


def collect(workspace: Workspace, dataset: Dataset) -> list[Batch]:
    """Append the files of the dataset that have not been seen yet, in the order of their names.

    A file must appear whole: write it under another name and rename it. One that was kept out may be mended in place and is
    then looked at again. Raises ProjectError for a file that was changed after its rows had become a version, because
    versions never change.
    """
    if not dataset.files:
        return []
    settled, fresh = _files(workspace, dataset)
    if not fresh:
        return []
    keys, error = _keys(workspace, fresh)
    with workspace.database.read() as tx:
        known = list_settled(tx, dataset.name, list(keys.values()))
    new: list[Batch] = []
    for path, key in keys.items():
        if known.get(key) is None:
            _refuse_changed(workspace, dataset, path, key)
        if key not in known:
            new.append(append_file(workspace, dataset, path, key=key))
        settled[path] = fresh[path]
    if error is not None:
        raise error
    return new


def read_file(path: Path) -> pa.Table:
    """The rows of a file, by its ending."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(
            f"{path}: a batch is one of {', '.join(_READERS)}.",
            next_step="write it in one of these formats, with that ending.",
        )
    try:
        return reader(path)
    except FileNotFoundError:
        raise InvalidInput(
            f"{path} does not exist.", next_step="give the path of a file that is there."
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(
            f"{path} cannot be read: {error}.",
            next_step="see that the file is whole, and that it may be read.",
        ) from None


def write_file(rows: pa.Table, path: Path) -> None:
    """Write rows to a file, by its ending; one that is there is replaced, whole or not at all.

    Raises InvalidInput for another ending, and for rows that such a file cannot hold.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InvalidInput(
            f"{path}: rows cannot be written to such a file.",
            next_step=f"end its name with {' or '.join(_WRITERS)}.",
        )
    fresh = fresh_name(path)
    try:
        writer(rows, fresh)
        keep(fresh, path)
    except pa.ArrowException as error:
        raise InvalidInput(
            f"{path} cannot hold these rows: {error}.", next_step="write them to a .parquet file."
        ) from None
    finally:
        fresh.unlink(missing_ok=True)


def _widened(rows: pa.Table, path: Path, known: pa.Schema | None) -> pa.Table:
    """In a text file, a column of numbers that happen to be whole says nothing of its type; the dataset does."""
    if known is None or path.suffix.lower() == ".parquet":
        return rows
    for place, field in enumerate(rows.schema):
        whole = pa.types.is_integer(field.type) and field.name in known.names
        if whole and pa.types.is_floating(known.field(field.name).type):
            rows = rows.set_column(place, field.name, rows[field.name].cast(known.field(field.name).type))
    return rows


def _name(workspace: Workspace, path: Path) -> str:
    """The file's place in the project, so that files of one name in two folders are two files."""
    place, root = path.resolve(), workspace.settings.root.resolve()
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else path.name


def _files(workspace: Workspace, dataset: Dataset) -> tuple[dict[Path, _State], dict[Path, _State]]:
    """The dataset's files in the order of their names: those that are as they were when settled, and the others."""
    paths = sorted(path for path in workspace.settings.root.glob(dataset.files) if path.is_file())
    there = {path: _state(path) for path in paths}
    known = _settled.setdefault(workspace.database, {})
    before = known.get(dataset.name, {})
    known[dataset.name] = {path: state for path, state in there.items() if before.get(path) == state}
    return known[dataset.name], {path: state for path, state in there.items() if before.get(path) != state}


def _keys(workspace: Workspace, files: Mapping[Path, _State]) -> tuple[dict[Path, str], InvalidInput | None]:
    """The key of each file up to the first that cannot be read, and what is to be said of that one."""
    keys: dict[Path, str] = {}
    for path in files:
        try:
            keys[path] = _key(workspace, path)
        except InvalidInput as error:
            return keys, error
    return keys, None


def _refuse_changed(workspace: Workspace, dataset: Dataset, path: Path, key: str) -> None:
    name = key.rpartition("@")[0]
    with workspace.database.read() as tx:
        accepted = list_accepted(tx, dataset.name, f"{name}@")
    if any(other.rpartition("@")[0] == name for other in accepted):
        raise ProjectError(
            f"{path} was changed after its rows had been appended to dataset {dataset.name}.",
            next_step="put it back as it was, and new rows into a new file.",
        )


def _key(workspace: Workspace, path: Path) -> str:
    return f"{_name(workspace, path)}@{_digest(path)}"


def _digest(path: Path) -> str:
    try:
        return _content(path, _state(path))
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error}.",
            next_step="see that the file is whole, and that it may be read.",
        ) from None


def _state(path: Path) -> _State:
    try:
        known = path.stat()
    except FileNotFoundError:
        raise InvalidInput(
            f"{path} does not exist.", next_step="give the path of a file that is there."
        ) from None
    return known.st_mtime_ns, known.st_ino, known.st_size


@lru_cache(maxsize=4096)
def _content(path: Path, _unchanged: _State) -> str:
    # A file that is refused is looked at again every second; while the system calls it unchanged, it is not read again.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
