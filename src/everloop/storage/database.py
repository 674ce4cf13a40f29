"""One database for all rows: SQLite in a folder, or PostgreSQL for a team, behind the same few calls.

What may break is a commit that is lost, or a look that sees half of one: `tests/storage/test_database.py` shows it of the
`BEGIN` of a look and of PostgreSQL's lock. Of SQLite's two, the lock of a file and `BEGIN IMMEDIATE`, either hides that the
other is gone; why both are there is in docs/decisions/0002.
"""

import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from everloop.errors import Conflict, EverloopError, InvalidInput, NotReady, ProjectError, Unsupported
from everloop.storage.locks import FileLock

T = TypeVar("T")

FILE = "everloop.db"
_WRITER = 0x6576_6572  # the advisory lock that PostgreSQL writers share
_GROUP = 500
_READ_ONLY = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class Database:
    """Rows and transactions.

    `write` runs one exclusive, durable transaction. SQLite before 3.51.3 can lose a commit when another
    connection checkpoints at the same moment, so writers queue at a file lock of ours, held over the commit
    and the checkpoint that it may run; it is also fairer than SQLite's own busy loop. PostgreSQL writers queue
    at an advisory lock, so numbers and states are read and written as if by one process.
    """

    def __init__(self, url: str, *, folder: Path) -> None:
        self.is_sqlite = not url
        self.where = str(folder / FILE) if self.is_sqlite else hide_password(url)
        """The database as it may be shown."""
        self._lock = FileLock(folder / f"{FILE}.lock") if self.is_sqlite else None
        self._thread = threading.local()
        self.engine = _open_sqlite(folder / FILE) if self.is_sqlite else _open_postgres(url)
        if self.is_sqlite:
            self._make_file()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A look at one moment: all of it is from the same state, whatever is written meanwhile, and it changes nothing."""
        with _plain_errors(self), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(**_READ_ONLY)
            yield connection
            connection.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One exclusive transaction, on the disk when the block ends; an exception undoes all of it."""
        with _plain_errors(self), self._alone(), self.engine.connect() as connection:
            with connection.execution_options(everloop_write="FULL").begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER})
                yield connection

    @contextmanager
    def log(self) -> Iterator[Connection]:
        """A transaction for rows that only add up, such as the inference log.

        It survives a killed process; a power cut may take its last moments. On PostgreSQL it does not queue behind
        `write`, so what needs an order, such as the ledger, has no place in it.
        """
        with _plain_errors(self), self._alone(), self.engine.connect() as connection:
            with connection.execution_options(everloop_write="NORMAL").begin():
                if not self.is_sqlite:
                    connection.execute(text("SET LOCAL synchronous_commit TO OFF"))
                yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if getattr(self._thread, "writes", False):
            raise RuntimeError(
                "a transaction was begun inside another one of the same thread; it would wait for ever."
            )
        with self._exclusive():
            self._thread.writes = True
            try:
                yield
            finally:
                self._thread.writes = False

    def _exclusive(self) -> AbstractContextManager[None]:
        return nullcontext() if self._lock is None else self._lock.held()

    def _make_file(self) -> None:
        # Two processes that both turn a new file to WAL can shut each other out, and SQLite does not wait then.
        with _plain_errors(self), self._exclusive(), self.engine.connect():
            pass


def insert_once(tx: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key is there; says whether it did."""
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(**row).on_conflict_do_nothing()
    # Asked for the key and not for a number of rows, which PostgreSQL's driver does not tell here.
    return tx.execute(statement.returning(*table.primary_key)).first() is not None


def in_groups(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts that fit into one statement: a database takes some thousand values at once."""
    for start in range(0, len(values), _GROUP):
        yield values[start : start + _GROUP]


def hide_password(url: str) -> str:
    """The address as it may be shown.

    >>> hide_password("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    >>> hide_password("postgresql://host/db?user=me&password=secret")
    'postgresql://host/db?user=me&password=***'
    """
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url))


def _open_sqlite(path: Path) -> Engine:
    if sqlite3.sqlite_version_info < (3, 35):
        raise Unsupported(
            f"this Python has SQLite {sqlite3.sqlite_version}; everloop needs 3.35 or newer.",
            next_step="use a newer Python, or PostgreSQL in [storage] of everloop.toml.",
        )
    engine = create_engine(URL.create("sqlite", database=str(path)))
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_postgres(given: str) -> Engine:
    shown = hide_password(given)
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise _not_understood(shown) from None  # the error itself could show the password
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise _not_understood(shown)
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,  # a server that was restarted costs nobody an error
        )
    except ModuleNotFoundError:
        raise Unsupported(
            "PostgreSQL needs its driver.", next_step="pip install 'everloop[postgres]'"
        ) from None


def _not_understood(shown: str) -> ProjectError:
    return ProjectError(
        f"database {shown!r} is not supported.",
        next_step="leave it empty for SQLite, or write postgresql://user@host/name.",
    )


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
    try:
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise


def _begin_sqlite(connection: Connection) -> None:
    level = connection.get_execution_options().get("everloop_write")
    connection.exec_driver_sql(f"PRAGMA query_only={level is None}")
    if level is None:
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous={level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


_IN_PLAIN_WORDS: tuple[tuple[str, type[EverloopError], str, str], ...] = (
    ("database is locked", Conflict, "another program holds", "close it and try again."),
    ("disk is full", Conflict, "there is no space left, and nothing was changed in", "free some space."),
    ("not a database", InvalidInput, "this file is damaged:", "restore it from a backup in the same folder."),
    ("malformed", InvalidInput, "this file is damaged:", "restore it from a backup in the same folder."),
    ("unable to open", InvalidInput, "there is no way to write", "ask for write access to its folder."),
    ("readonly", InvalidInput, "there is no way to write", "ask for write access to its folder."),
)


@contextmanager
def _plain_errors(database: Database) -> Iterator[None]:
    """Say in a sentence what a user can mend; anything else keeps its traceback."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig)
        if database.is_sqlite:
            for words, kind, reason, next_step in _IN_PLAIN_WORDS:
                if words in said:
                    raise kind(f"{reason} {database.where} ({said}).", next_step=next_step) from error
        elif isinstance(error, OperationalError) and (
            error.connection_invalidated or error.statement is None
        ):
            raise NotReady(
                f"the database {database.where} does not answer: {said.splitlines()[0]}.",
                next_step="start it, or correct its address in [storage] of everloop.toml.",
            ) from error
        raise
