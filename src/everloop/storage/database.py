"""One database for all rows: SQLite in a folder, or PostgreSQL for a team, behind the same few calls."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from everloop.errors import Conflict, InvalidInput, ProjectError, Unsupported
from everloop.storage.locks import FileLock

_WRITER = 0x6576_6572  # the advisory lock that PostgreSQL writers share


class Database:
    """Rows and transactions.

    `write` runs one exclusive, durable transaction. SQLite before 3.51.3 can lose a commit when another
    connection checkpoints at the same moment, so writers queue at a file lock of ours, held over the commit
    and the checkpoint that it may run; it is also fairer than SQLite's own busy loop. PostgreSQL writers queue
    at an advisory lock, so numbers and states are read and written as if by one process.
    """

    def __init__(self, url: str, *, folder: Path) -> None:
        self.url = url or f"sqlite:///{folder / 'everloop.db'}"
        self.is_sqlite = self.url.startswith("sqlite:")
        if not self.is_sqlite and not self.url.startswith(("postgresql:", "postgresql+psycopg:")):
            raise ProjectError(
                f"database {hide_password(self.url)} is not supported.",
                next_step="leave it empty for SQLite, or write postgresql://user@host/name.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / "everloop.db.lock") if self.is_sqlite else None
        self.engine = self._connect()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent look that changes nothing."""
        with self.engine.connect() as connection, _plain_errors(self.url):
            yield connection
            connection.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One exclusive transaction, on the disk when the block ends; an exception undoes all of it."""
        with self._exclusive(), self.engine.connect() as connection, _plain_errors(self.url):
            with connection.execution_options(everloop_write="FULL").begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER})
                yield connection

    @contextmanager
    def log(self) -> Iterator[Connection]:
        """A transaction for rows that only add up, such as the inference log.

        It survives a killed process; a power cut may take its last moments. It does not queue behind `write` on PostgreSQL.
        """
        with self._exclusive(), self.engine.connect() as connection, _plain_errors(self.url):
            with connection.execution_options(everloop_write="NORMAL").begin():
                if not self.is_sqlite:
                    connection.execute(text("SET LOCAL synchronous_commit TO OFF"))
                yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def _exclusive(self) -> AbstractContextManager[None]:
        return nullcontext() if self._lock is None else self._lock.held()

    def _connect(self) -> Engine:
        url = re.sub(r"^postgresql:", "postgresql+psycopg:", self.url)
        try:
            engine = create_engine(url, json_serializer=_json, json_deserializer=msgspec.json.decode)
        except ModuleNotFoundError:
            raise Unsupported(
                "PostgreSQL needs its driver.", next_step="pip install 'everloop[postgres]'."
            ) from None
        except (ArgumentError, NoSuchModuleError) as error:
            raise ProjectError(f"database {hide_password(self.url)} cannot be understood: {error}.") from None
        if self.is_sqlite:
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        return engine


def insert_once(tx: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key is there; says whether it did."""
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    result = tx.execute(dialect.insert(table).values(**row).on_conflict_do_nothing())
    return result.rowcount == 1


def hide_password(url: str) -> str:
    """The address as it may be shown.

    >>> hide_password("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    """
    return re.sub(r"(://[^:/@]+):[^@]*@", r"\1:***@", url)


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=30000", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    level = connection.get_execution_options().get("everloop_write")
    if level is None:
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous={level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _plain_errors(url: str) -> Iterator[None]:
    """Say in a sentence what a user can mend; anything else keeps its traceback."""
    try:
        yield
    except DBAPIError as error:
        told = str(error.orig)
        where = hide_password(url)
        if "database is locked" in told:
            raise Conflict(
                f"another program holds the database {where}.", next_step="close it and try again."
            ) from error
        if "disk is full" in told:
            raise Conflict(
                f"the disk under {where} is full; nothing was changed.", next_step="free some space."
            ) from error
        if "not a database" in told or "malformed" in told:
            raise InvalidInput(
                f"{where} is damaged: {told}.", next_step="restore it from a backup in the same folder."
            ) from error
        raise
