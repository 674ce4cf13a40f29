"""Bring a database to the schema that this code works with: backed up first, refused when it is newer."""

import sqlite3
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from everloop.errors import Unsupported
from everloop.storage.database import Database, hide_password
from everloop.storage.schema import REVISIONS


def migrate(database: Database, *, folder: Path, now: datetime) -> Path | str | None:
    """Migrate if needed; returns where the backup is when one was made.

    Raises Unsupported when the database was written by a newer everloop.
    """
    with database.read() as tx:
        found = revision(tx)
    if found == REVISIONS[-1]:
        return None
    if found is not None and found not in REVISIONS:
        raise Unsupported(
            f"the database {hide_password(database.url)} has schema {found}; this everloop knows up to {REVISIONS[-1]}.",
            next_step="upgrade everloop; nothing was changed.",
        )
    with database.write() as tx:
        found = revision(tx)  # another process may have done it while we queued
        if found == REVISIONS[-1]:
            return None
        backup = None if found is None else _back_up(database, tx, folder, f"{found}-{now:%Y%m%dT%H%M%S}")
        _upgrade(tx)
    return backup


def revision(tx: Connection) -> str | None:
    """The schema a database has; None when it is empty."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    return tx.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _upgrade(tx: Connection) -> None:
    # Alembic takes half a second to import and is needed once in a database's life.
    from alembic import command
    from alembic.config import Config

    with as_file(files("everloop.storage") / "migrations") as scripts:
        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = tx
        command.upgrade(config, "head")


def _back_up(database: Database, tx: Connection, folder: Path, stamp: str) -> Path | str:
    if database.is_sqlite:
        target = folder / f"everloop-{stamp}.db"
        # A second connection sees what is committed, which is all there is before the migration begins.
        with sqlite3.connect(folder / "everloop.db") as source, sqlite3.connect(target) as copy:
            source.backup(copy)
        return target
    schema = f"everloop_{stamp.lower().replace('-', '_')}"
    tx.execute(text(f'CREATE SCHEMA "{schema}"'))
    for name in inspect(tx).get_table_names():
        tx.execute(text(f'CREATE TABLE "{schema}"."{name}" AS TABLE "{name}"'))
    return f"schema {schema}"
