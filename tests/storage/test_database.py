"""What every database must keep: looks at one moment, whole transactions, and nothing lost between writers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from everloop.errors import EverloopError, InvalidInput, NotReady, ProjectError
from everloop.storage.database import Database, hide_password, insert_once
from everloop.storage.schema import endpoints, environments
from everloop.storage.workspace import Workspace
from tests.support.processes import finish, heard, kill, start

ROW = {"digest": "d", "python": "3.11", "platform": "linux", "libraries": {"numpy": "2.0"}}


def add(tx: Connection, digest: str) -> None:
    """Write one row."""
    tx.execute(insert(environments).values(**ROW | {"digest": digest}))


def many(tx: Connection) -> int:
    """How many rows there are."""
    return tx.execute(select(func.count()).select_from(environments)).scalar_one()


def rows(workspace: Workspace) -> int:
    """The same, in a look of its own."""
    with workspace.database.read() as tx:
        return many(tx)


def test_a_look_is_at_one_moment(workspace: Workspace) -> None:
    """What others commit during a look is not in it, and is in the next one."""
    with workspace.database.read() as look:
        assert many(look) == 0
        with workspace.database.write() as tx:
            add(tx, "d")
        assert many(look) == 0
    assert rows(workspace) == 1


def test_a_look_changes_nothing(workspace: Workspace) -> None:
    """A write inside a look is refused, and the next transaction may write again."""
    with pytest.raises((EverloopError, DBAPIError)), workspace.database.read() as tx:
        add(tx, "d")
    with workspace.database.write() as tx:
        add(tx, "d")
    assert rows(workspace) == 1


@pytest.mark.parametrize("kind", ["read", "write", "log"])
def test_an_exception_undoes_all_and_harms_nobody(workspace: Workspace, kind: str) -> None:
    """The exception comes out as it is; nothing of the transaction stays; the database goes on."""
    with pytest.raises(ZeroDivisionError), getattr(workspace.database, kind)() as tx:
        if kind != "read":
            add(tx, "first")
            add(tx, "second")
        raise ZeroDivisionError
    assert rows(workspace) == 0
    with workspace.database.write() as tx:
        add(tx, "after")
    assert rows(workspace) == 1


def test_a_transaction_inside_another_one_is_refused(workspace: Workspace) -> None:
    """It would wait for itself for ever; it is told so instead, and the outer one may still commit."""
    with workspace.database.write() as tx:
        with pytest.raises(RuntimeError, match="inside another one"), workspace.database.log():
            pass
        add(tx, "outer")
    assert rows(workspace) == 1


def test_threads_that_read_and_write_lose_nothing(workspace: Workspace) -> None:
    """Two threads that add to the same number 30 times each end at 60, while a third one looks on."""
    counter(workspace)

    def add_up() -> None:
        for _ in range(30):
            with workspace.database.write() as tx:
                count_up(tx)

    seen: list[int] = []
    threads = [threading.Thread(target=add_up) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.append(counted(workspace))
    for thread in threads:
        thread.join()
    assert counted(workspace) == 60
    assert seen == sorted(seen)


COUNT = """
from sqlalchemy import select, update
from everloop.storage.schema import endpoints
workspace = open_workspace(place)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(30):
    with workspace.database.write() as tx:
        was = tx.execute(select(endpoints.c.generation)).scalar_one()
        tx.execute(update(endpoints).values(generation=was + 1))
workspace.close()
"""


def test_processes_that_read_and_write_lose_nothing(workspace: Workspace) -> None:
    """The same with two processes."""
    counter(workspace)
    processes = [start(workspace.settings, COUNT) for _ in range(2)]
    assert [heard(process) for process in processes] == ["ready", "ready"]
    finish(processes)
    assert counted(workspace) == 60


def counter(workspace: Workspace) -> None:
    """Make a number that can be counted up."""
    row = {
        "name": "e",
        "model": "m",
        "generation": 0,
        "split": 0,
        "salt": "s",
        "shadow": False,
    }
    with workspace.database.write() as tx:
        tx.execute(insert(endpoints).values(**row))


def count_up(tx: Connection) -> None:
    """Read the number, then write one more."""
    was = tx.execute(select(endpoints.c.generation)).scalar_one()
    tx.execute(update(endpoints).values(generation=was + 1))


def counted(workspace: Workspace) -> int:
    """The number now."""
    with workspace.database.read() as tx:
        return int(tx.execute(select(endpoints.c.generation)).scalar_one())


DIE_WRITING = """
from sqlalchemy import insert
from everloop.storage.schema import environments
workspace = open_workspace(place)
with workspace.database.log() as tx:
    tx.execute(insert(environments).values(digest="logged", python="", platform="", libraries={}))
with workspace.database.write() as tx:
    tx.execute(insert(environments).values(digest="half", python="", platform="", libraries={}))
    print("in the middle", flush=True)
    sys.stdin.readline()
"""


def test_a_process_killed_while_it_writes_leaves_nothing_half_done(workspace: Workspace) -> None:
    """What it had committed is there, also to the log; its open transaction is not, and nobody waits for it."""
    process = start(workspace.settings, DIE_WRITING)
    assert heard(process) == "in the middle"
    kill(process)
    with workspace.database.write() as tx:
        add(tx, "next")
    with workspace.database.read() as tx:
        assert set(tx.execute(select(environments.c.digest)).scalars()) == {"logged", "next"}


def test_a_row_is_inserted_once(workspace: Workspace) -> None:
    """The first one stays, and the second is told that it came late."""
    with workspace.database.write() as tx:
        assert insert_once(tx, environments, ROW)
        assert not insert_once(tx, environments, ROW | {"python": "3.13"})
    with workspace.database.read() as tx:
        assert tx.execute(select(environments.c.python)).scalar_one() == "3.11"


class TestWhatIsWrong:
    """Each is told in a sentence, and no sentence holds a password."""

    @pytest.mark.parametrize(
        "url",
        [
            "mysql://me:secret@host/db",
            "sqlite:///other.db",
            "postgresql+psycopg2://me:secret@host/db",
            "postgresql://me:secret@host:port/db",
            "nonsense:secret@",
        ],
    )
    def test_an_address_that_is_not_supported_is_refused(self, url: str, tmp_path: Path) -> None:
        """Refused when it is opened, before anything is asked of it."""
        with pytest.raises(ProjectError, match="not supported") as refused:
            Database(url, folder=tmp_path)
        assert "me:secret" not in str(refused.value)

    def test_a_server_that_does_not_answer(self, tmp_path: Path) -> None:
        """It says which one, and where its address stands."""
        database = Database(f"postgresql://me:secret@/db?host={tmp_path}", folder=tmp_path)
        with pytest.raises(NotReady, match=r"does not answer.*everloop\.toml") as refused, database.read():
            pass
        assert "secret" not in str(refused.value)
        database.close()

    def test_a_password_is_never_shown(self) -> None:
        """Wherever it stands, and whatever it holds."""
        for url in (
            "postgresql://a:s3@cret@h/d",
            "postgresql://:s3@cret@h/d",
            "postgresql://h/d?password=s3@cret",
        ):
            assert "s3" not in hide_password(url)
            assert "cret" not in hide_password(url)

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        """It is called damaged, and left as it is."""
        (tmp_path / "everloop.db").write_text("these are no pages" * 100)
        with pytest.raises(InvalidInput, match=r"damaged.*backup"), opening(tmp_path):
            pass
        assert (tmp_path / "everloop.db").read_text() == "these are no pages" * 100

    def test_a_folder_where_the_file_should_be(self, tmp_path: Path) -> None:
        """SQLite's own words are kept beside ours."""
        (tmp_path / "everloop.db").mkdir()
        with pytest.raises(InvalidInput, match="no way to write"), opening(tmp_path):
            pass


@contextmanager
def opening(folder: Path) -> Iterator[Database]:
    """An SQLite database in a folder, closed at the end."""
    database = Database("", folder=folder)
    yield database
    database.close()
