"""Migrations: every database ends with the schema that the code names, and none is changed without need or backup."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text

from everloop.errors import Unsupported
from everloop.settings import Settings
from everloop.storage.database import Database
from everloop.storage.migrate import migrate, revision
from everloop.storage.schema import REVISIONS, environments, tables
from everloop.storage.workspace import Workspace, open_workspace
from tests.support.processes import finish, heard, start
from tests.support.workspaces import HandClock

ROW = {"digest": "kept", "python": "3.11", "platform": "linux", "libraries": {}}
NEXT = """
'''One more table, and one column less.'''
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "9999", "{last}", None, None

def upgrade() -> None:
    op.create_table("extra", sa.Column("id", sa.Integer(), primary_key=True))
    with op.batch_alter_table("environments") as table:
        table.drop_column("platform")
    {then}
"""


@pytest.fixture
def database(new_place: Settings) -> Iterator[Database]:
    """A database before its first migration."""
    new_place.folder.mkdir()
    opened = Database(new_place.storage.database, folder=new_place.folder)
    yield opened
    opened.close()


def scripts(folder: Path, then: str = "pass") -> Path:
    """Our migrations and one more, as a later everloop will have them."""
    with as_file(files("everloop.storage") / "migrations") as ours:
        shutil.copytree(ours, folder / "migrations")
    (folder / "migrations" / "versions" / "r9999_next.py").write_text(
        NEXT.format(last=REVISIONS[-1], then=then)
    )
    return folder / "migrations"


def test_a_new_database_gets_the_schema_that_the_code_names(
    database: Database, new_place: Settings, clock: HandClock
) -> None:
    """Table by table, column by column, with types, keys and indexes: nothing is missing and nothing is more."""
    migrate(database, folder=new_place.folder, now=clock())
    with database.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables) == []
        assert revision(tx) == REVISIONS[-1]


def test_a_second_opening_changes_nothing(workspace: Workspace, place: Settings) -> None:
    """What is there stays, and no backup is made where nothing is migrated."""
    with workspace.database.write() as tx:
        tx.execute(insert(environments).values(**ROW))
    again = open_workspace(place)
    with again.database.read() as tx:
        assert tx.execute(select(environments.c.digest)).scalars().all() == ["kept"]
    again.close()
    assert not list(place.folder.glob("everloop-*.db"))


def test_a_newer_database_is_refused_and_left_alone(workspace: Workspace, place: Settings) -> None:
    """The word is clear, and not one byte of it changes."""
    with workspace.database.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        tx.execute(insert(environments).values(**ROW))
    with pytest.raises(
        Unsupported, match=f"has schema 9999; this everloop knows up to {REVISIONS[-1]}"
    ) as refused:
        open_workspace(place)
    assert "upgrade everloop" in str(refused.value)
    with workspace.database.read() as tx:
        assert revision(tx) == "9999"
        assert tx.execute(select(environments.c.digest)).scalars().all() == ["kept"]


def test_an_upgrade_is_preceded_by_a_backup_that_can_be_opened(
    database: Database, new_place: Settings, tmp_path: Path, clock: HandClock
) -> None:
    """The backup has the rows and the schema from before, and the database has those from after."""
    assert migrate(database, folder=new_place.folder, now=clock()) is None
    with database.write() as tx:
        tx.execute(insert(environments).values(**ROW))
    backup = migrate(
        database,
        folder=new_place.folder,
        now=clock(),
        revisions=[*REVISIONS, "9999"],
        scripts=scripts(tmp_path),
    )
    with database.read() as tx:
        assert revision(tx) == "9999"
        assert inspect(tx).has_table("extra")
        assert set(tx.execute(text("SELECT * FROM environments")).keys()) == set(ROW) - {"platform"}
    assert rows_of_backup(database, backup) == [
        tuple(ROW[name] if name != "libraries" else "{}" for name in ROW)
    ]


def rows_of_backup(database: Database, backup: Path | str | None) -> list[tuple[object, ...]]:
    """The environments that a backup holds."""
    query = "SELECT digest, python, platform, libraries FROM {}environments"
    if isinstance(backup, Path):
        with closing(sqlite3.connect(backup)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == (REVISIONS[-1],)
            return copy.execute(query.format("")).fetchall()
    assert backup is not None
    schema = f'"{backup.removeprefix("schema ")}".'
    with database.read() as tx:
        assert (
            tx.execute(text(f"SELECT version_num FROM {schema}alembic_version")).scalar_one() == REVISIONS[-1]
        )
        return [tuple(row) for row in tx.execute(text(query.format(schema)))]


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(
    database: Database, new_place: Settings, tmp_path: Path, clock: HandClock
) -> None:
    """All of its steps are undone; a good one may come after it."""
    migrate(database, folder=new_place.folder, now=clock())
    with database.write() as tx:
        tx.execute(insert(environments).values(**ROW))
    broken = scripts(tmp_path / "broken", then="raise ZeroDivisionError")
    with pytest.raises(ZeroDivisionError):
        migrate(
            database, folder=new_place.folder, now=clock(), revisions=[*REVISIONS, "9999"], scripts=broken
        )
    with database.read() as tx:
        assert revision(tx) == REVISIONS[-1]
        assert not inspect(tx).has_table("extra")
        assert tx.execute(select(environments)).mappings().one() == ROW
    good = scripts(tmp_path / "good")
    migrate(database, folder=new_place.folder, now=clock(), revisions=[*REVISIONS, "9999"], scripts=good)
    with database.read() as tx:
        assert revision(tx) == "9999"


OPEN = """
print("ready", flush=True)
sys.stdin.readline()
workspace = open_workspace(place)
with workspace.database.read() as tx:
    from everloop.storage.migrate import revision
    print(revision(tx))
workspace.close()
"""


def test_processes_that_open_a_new_workspace_at_once_all_succeed(new_place: Settings) -> None:
    """One of them makes the tables, the others find them."""
    processes = [start(new_place, OPEN) for _ in range(3)]
    assert [heard(process) for process in processes] == ["ready"] * 3
    assert finish(processes) == [f"{REVISIONS[-1]}\n"] * 3
