"""Versioned tables: one Delta table per dataset, appended to and read at any version."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from everloop.errors import Corrupted, NotFound

_KEY = "everloop.batch"
_RECENT = 100  # commits that are searched for a batch; older ones are known to the table of batches


class Tables:
    """Delta tables in a folder; a version that was handed out never changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, name: str, rows: pa.Table, *, key: str) -> int:
        """Add rows as a new version and return its number; the same key again returns the version that it made."""
        done = self.version_of(name, key)
        if done is not None:
            return done
        self.folder.mkdir(parents=True, exist_ok=True)
        write_deltalake(
            str(self._path(name)),
            rows,
            mode="append",
            commit_properties=CommitProperties(custom_metadata={_KEY: key}),
        )
        done = self.version_of(name, key)
        if done is None:
            raise Corrupted(f"table {name} has no commit of batch {key} after it was appended.")
        return done

    def version_of(self, name: str, key: str) -> int | None:
        """The version that a batch made, or None."""
        table = self._find(name)
        if table is None:
            return None
        for commit in table.history(_RECENT):
            if commit.get(_KEY) == key:
                return int(commit["version"])
        return None

    def read(self, name: str, version: int, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of one version, in the order in which they were appended."""
        table = self._find(name, version)
        if table is None:
            raise NotFound(f"dataset {name} has no version {version}.")
        return pq.read_table(_in_order(table), columns=None if columns is None else list(columns))

    def types(self, name: str) -> pa.Schema | None:
        """Column types of the newest version; None before the first append."""
        table = self._find(name)
        return None if table is None else pq.read_schema(_in_order(table)[0])

    def _find(self, name: str, version: int | None = None) -> DeltaTable | None:
        try:
            return DeltaTable(str(self._path(name)), version=version)
        except TableNotFoundError:
            return None

    def _path(self, name: str) -> Path:
        return self.folder / name


def _in_order(table: DeltaTable) -> list[str]:
    """Files of a version, oldest first: Delta keeps no order, and a result must not depend on chance."""
    added = table.get_add_actions(flatten=True)
    paths = added.column("path").to_pylist()
    times = added.column("modification_time").to_pylist()
    return [
        f"{table.table_uri.removeprefix('file://').rstrip('/')}/{path}"
        for _, path in sorted(zip(times, paths, strict=True))
    ]
