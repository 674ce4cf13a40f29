"""Bring a database to the schema that this code works with: backed up first, refused when it is newer."""

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from everloop.errors import Unsupported
from everloop.storage.database import FILE, Database
from everloop.storage.schema import REVISIONS

_one_at_a_time = threading.Lock()  # alembic keeps the database that it works on in globals of its modules


def migrate(
    database: Database,
    *,
    folder: Path,
    now: datetime,
    revisions: Sequence[str] = REVISIONS,
    scripts: Path | None = None,
) -> Path | str | None:
    """Migrate if needed; returns where the backup is when one was made.

    `revisions` are all schemas that the code knows, oldest first, and `scripts` the folder of steps between them.
    Raises Unsupported when the database was written by a newer everloop.
    """
    with database.read() as tx:
        found = revision(tx)
    if found == revisions[-1]:
        return None
    if found is not None and found not in revisions:
        raise Unsupported(
            f"the database {database.where} has schema {found}; this everloop knows up to {revisions[-1]}.",
            next_step="upgrade everloop; nothing was changed.",
        )
    with database.write() as tx:
        found = revision(tx)  # another process may have done it while we queued
        if found == revisions[-1]:
            return None
        backup = None if found is None else _back_up(database, tx, folder, f"{found}-{now:%Y%m%dT%H%M%S}")
        _upgrade(tx, revisions[-1], scripts)
    return backup


def revision(tx: Connection) -> str | None:
    """The schema a database has; None when it is empty."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    return tx.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _upgrade(tx: Connection, target: str, scripts: Path | None) -> None:
    # Alembic takes half a second to import and is needed once in a database's life.
    from alembic import command
    from alembic.config import Config

    with _one_at_a_time, as_file(files("everloop.storage") / "migrations") as ours:
        config = Config()
        config.set_main_option("script_location", str(scripts or ours).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = tx
        command.upgrade(config, target)


def _back_up(database: Database, tx: Connection, folder: Path, stamp: str) -> Path | str:
    if database.is_sqlite:
        target = folder / f"everloop-{stamp}.db"
        # A second connection sees what is committed, which is all there is before the migration begins.
        with closing(sqlite3.connect(folder / FILE)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
        return target
    schema = f"everloop_{stamp.lower().replace('-', '_')}"
    tx.execute(text(f'CREATE SCHEMA "{schema}"'))
    for name in inspect(tx).get_table_names():
        tx.execute(text(f'CREATE TABLE "{schema}"."{name}" AS TABLE "{name}"'))
    return f"schema {schema}"
