"""Versioned tables: one Delta table per dataset, appended to and read at any version.

Delta promises neither the order of rows, nor that a version is there after 30 days, nor one version for one key, and it
notices no changed byte. Each is made here, would be lost in silence, and has its test in `tests/storage/test_tables.py`.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from everloop.errors import Corrupted, InvalidInput, NotFound, Unsupported
from everloop.records.names import check_name
from everloop.storage.codec import digest_of
from everloop.storage.columns import is_binary, is_text, value_type
from everloop.storage.durable import fresh_name, keep, make_folder, sync

_BATCH = "everloop.batch"
_MISREAD = re.compile(r"[\[\]\\#?]|%[0-9A-Fa-f]{2}")  # what Delta takes for its own in a folder's name
# By default Delta deletes commits older than 30 days at every hundredth one, and with them their versions.
_KEEP_ALL = {"delta.enableExpiredLogCleanup": "false"}
_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
}
_NO_CLEANUP = PostCommitHookProperties(cleanup_expired_logs=False)


class Tables:
    """Delta tables in a folder; a version that was handed out never changes."""

    def __init__(self, folder: Path) -> None:
        if _MISREAD.search(str(folder)):
            raise Unsupported(
                f"tables cannot be kept in {folder}: its name holds one of []\\#? or % before two digits.",
                next_step="rename the folder, or name another one in [storage] of everloop.toml.",
            )
        self.folder = folder

    def append(self, name: str, rows: pa.Table, *, key: str) -> int:
        """Add rows as a new version and return its number; the same key again returns the version that it made.

        Each batch is one file, in the order of its rows, on the disk when this returns.
        """
        done = self.find_version(name, key)
        if done is not None:
            return done
        table = self._find(name)
        kept = _storable(rows)
        fitted = _typed(kept) if table is None else _fitted(kept, self._types(name, table))
        file = self._write(name, fitted, 0 if table is None else table.version() + 1, key)
        try:
            self._commit(name, table, file, fitted.schema, key)
        except DeltaError:
            # Somebody else made the table, or kept the same batch, at the same moment.
            if self._find(name) is None or (table is not None and self.find_version(name, key) is None):
                raise
            return self.append(name, rows, key=key)
        return self._kept(name, key)

    def find_version(self, name: str, key: str) -> int | None:
        """The version that a batch made, or None."""
        table = self._find(name)
        # The table remembers every key for ever; its history is read only when there is something to find.
        if table is None or table.transaction_version(key) is None:
            return None
        for commit in table.history():
            if commit.get(_BATCH) == key:
                return int(commit["version"])
        raise Corrupted(
            f"table {name} has lost the commit of batch {key}.", next_step="restore it from a backup."
        )

    def read(self, name: str, version: int, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of one version, in the order in which they were appended; changed bytes are refused."""
        table = self._find(name)
        if table is None or not 0 <= version <= table.version():
            raise NotFound(
                f"dataset {name} has no version {version}.",
                next_step=f"`everloop datasets {name}` lists them.",
            )
        table.load_as_version(version)
        files = self._whole_files(name, table)
        strangers = set(columns or ()) - set(pq.read_schema(files[0]).names)
        if strangers:
            raise InvalidInput(
                f"dataset {name} has no column {', '.join(sorted(strangers))}.",
                next_step="name columns that it has.",
            )
        chosen = None if columns is None else list(columns)
        return pq.read_table(files, columns=chosen, partitioning=None)

    def types(self, name: str) -> pa.Schema | None:
        """Column types of the newest version; None before the first append."""
        table = self._find(name)
        return None if table is None else self._types(name, table)

    def _types(self, name: str, table: DeltaTable) -> pa.Schema:
        return pq.read_schema(self._whole_files(name, table, first=True)[0]).remove_metadata()

    def _whole_files(self, name: str, table: DeltaTable, *, first: bool = False) -> list[Path]:
        """Files of a version, oldest first, each checked to be what was written.

        Delta keeps no order of files, and a result must not depend on chance; nor does it notice a changed byte.
        """
        paths = [self._path(name) / path for path in table.get_add_actions().column("path").to_pylist()]
        chosen = sorted(paths)[:1] if first else sorted(paths)
        for path in chosen:
            if not path.exists() or _content(path) != path.stem.rpartition("-")[2]:
                raise Corrupted(
                    f"file {path.name} of dataset {name} is missing or was changed on the disk.",
                    next_step="restore the folder from a backup.",
                )
        return chosen

    def _write(self, name: str, rows: pa.Table, place: int, key: str) -> AddAction:
        """A file that nobody knows yet: its name follows from place, batch and content, so a repeat writes it again."""
        folder = self._path(name)
        make_folder(folder)
        fresh = fresh_name(folder / name)
        try:
            pq.write_table(rows, fresh)
            path = folder / f"{place:010}-{digest_of(key)[:16]}-{_content(fresh)}.parquet"
            keep(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        known = path.stat()
        return AddAction(
            path=path.name,
            size=known.st_size,
            partition_values={},
            modification_time=known.st_mtime_ns // 1_000_000,
            data_change=True,
            stats=json.dumps({"numRecords": rows.num_rows}),
        )

    def _commit(
        self, name: str, table: DeltaTable | None, file: AddAction, schema: pa.Schema, key: str
    ) -> None:
        marks = CommitProperties(custom_metadata={_BATCH: key}, app_transactions=[Transaction(key, 1)])
        if table is None:
            create_table_with_add_actions(
                str(self._path(name)),
                Schema.from_arrow(schema),
                [file],
                mode="error",
                configuration=_KEEP_ALL,
                commit_properties=marks,
            )
            return
        table.create_write_transaction(
            [file], "append", schema, commit_properties=marks, post_commithook_properties=_NO_CLEANUP
        )

    def _kept(self, name: str, key: str) -> int:
        version = self.find_version(name, key)
        if version is None:
            raise Corrupted(
                f"table {name} has no commit of batch {key} after it was appended.",
                next_step="restore it from a backup.",
            )
        log = self._path(name) / "_delta_log"
        sync(log / f"{version:020}.json")
        sync(log)
        return version

    def _find(self, name: str) -> DeltaTable | None:
        try:
            return DeltaTable(str(self._path(name)))
        except TableNotFoundError:
            return None

    def _path(self, name: str) -> Path:
        check_name(name, "a dataset")
        return self.folder / name


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _typed(rows: pa.Table) -> pa.Table:
    """The rows of a first batch, which decide what each column is."""
    untyped = [field.name for field in rows.schema if pa.types.is_null(field.type)]
    if untyped or not rows.column_names:
        raise InvalidInput(
            f"column {', '.join(untyped) or '(none)'} holds nothing but nulls, so its type is not known.",
            next_step="cast it before the first batch is appended.",
        )
    return rows


def _fitted(rows: pa.Table, types: pa.Schema) -> pa.Table:
    """The rows in the order and the types of the table's columns."""
    if sorted(rows.column_names) != sorted(types.names):
        raise InvalidInput(
            f"the columns are {', '.join(rows.column_names)}; the table has {', '.join(types.names)}.",
            next_step="send the columns of the table, in any order.",
        )
    return pa.table({field.name: _cast(field, rows[field.name]) for field in types})


def _cast(field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kinds = pa.types
    alike = (
        kinds.is_null(column.type)
        or (kinds.is_integer(column.type) and kinds.is_integer(field.type))
        or (kinds.is_floating(column.type) and kinds.is_floating(field.type))
    )
    if column.type != field.type and not alike:
        raise InvalidInput(
            f"column {field.name} is {column.type}; the table has {field.type}.",
            next_step=f"cast it to {field.type}.",
        )
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid as error:
        raise InvalidInput(
            f"column {field.name} does not fit {field.type}: {error}.",
            next_step=f"cast it to {field.type}, or send what fits.",
        ) from None


def _storable(rows: pa.Table) -> pa.Table:
    """The same rows in types that Delta has; whatever would lose something is refused."""
    if len(set(rows.column_names)) != rows.num_columns:
        raise InvalidInput("a column is there twice.", next_step="rename or drop one.")
    columns = {}
    for field in rows.schema:
        try:
            columns[field.name] = rows[field.name].cast(_storable_type(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(
                f"column {field.name} ({field.type}) cannot be kept: {error}.",
                next_step="cast it to a plain type.",
            ) from None
    return pa.table(columns)


def _storable_type(kind: pa.DataType) -> pa.DataType:
    kind, kinds = value_type(kind), pa.types
    if is_text(kind):
        return pa.string()
    if is_binary(kind) or kinds.is_fixed_size_binary(kind):
        return pa.binary()
    if kinds.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if kinds.is_time(kind) or kinds.is_duration(kind):
        raise pa.ArrowNotImplementedError("Delta has no such type; keep it as a number or a text")
    return _WIDER.get(kind, kind)
