"""Who is alive: one holder for a name, and a dead one's name is free at once."""

import shutil
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from everloop.errors import InvalidInput
from everloop.storage.presence import Presence
from everloop.storage.workspace import Workspace
from tests.support.processes import finish, heard, kill, start, tell


@pytest.fixture
def here(workspace: Workspace) -> Iterator[Presence]:
    """The names that this process holds."""
    presence = Presence(workspace.database, workspace.folder)
    yield presence
    presence.close()


@pytest.fixture
def there(workspace: Workspace) -> Iterator[Presence]:
    """The names of somebody else, who happens to live in this process too."""
    presence = Presence(workspace.database, workspace.folder)
    yield presence
    presence.close()


def test_a_name_has_one_holder(here: Presence, there: Presence) -> None:
    """Everybody sees who holds it, nobody gets it twice, and it is free when it is let go."""
    assert not here.present("loop")
    assert here.enter("loop")
    assert here.present("loop")
    assert there.present("loop")
    assert not there.enter("loop")
    assert not here.enter("loop")
    assert there.enter("other")
    here.leave("loop")
    assert not here.present("loop")
    assert there.enter("loop")
    here.leave("loop")
    assert here.present("loop"), "what somebody else holds cannot be let go from here"


def test_closing_lets_go_of_everything(here: Presence, there: Presence) -> None:
    """At once, and the names may be held again, by the same one too."""
    assert all(here.enter(name) for name in ("a", "b", "c"))
    here.close()
    assert not any(there.present(name) for name in ("a", "b", "c"))
    assert there.enter("a")
    assert here.enter("b")
    here.close()
    here.close()


def test_closing_is_possible_when_what_was_held_is_gone(workspace: Workspace, here: Presence) -> None:
    """A database that was restarted, or a folder that was emptied, keeps nobody from ending well."""
    here.enter("a")
    if workspace.database.is_sqlite:
        shutil.rmtree(workspace.folder / "present")
    else:
        with workspace.database.read() as tx:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            tx.execute(text(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {others}"))
    here.close()
    assert here.enter("a")


HOLD = """
from everloop.storage.presence import Presence
workspace = open_workspace(place)
presence = Presence(workspace.database, workspace.folder)
print(presence.enter("worker"), flush=True)
sys.stdin.readline()
presence.close()
workspace.close()
print("closed")
"""


def test_the_name_of_a_killed_process_is_free_at_once(workspace: Workspace, here: Presence) -> None:
    """Nobody waits for a clock; a slow process keeps its name as long as it lives."""
    process = start(workspace.settings, HOLD)
    assert heard(process) == "True"
    assert here.present("worker")
    assert not here.enter("worker")
    kill(process)
    # PostgreSQL's server notices the end of the connection when the kernel tells it, a moment after the kill.
    while not workspace.database.is_sqlite and here.present("worker"):
        pass
    assert not here.present("worker")
    assert here.enter("worker")


def test_of_processes_that_want_a_name_one_gets_it(workspace: Workspace) -> None:
    """A second `everloop up` in the same workspace is refused, however close it comes."""
    processes = [start(workspace.settings, HOLD) for _ in range(3)]
    assert sorted(heard(process) for process in processes) == ["False", "False", "True"]
    for process in processes:
        tell(process)
    finish(processes)


def test_looking_keeps_nobody_out(here: Presence, there: Presence) -> None:
    """While others look without pause, whoever wants a free name gets it each time."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            there.present("loop")

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            assert here.enter("loop")
            here.leave("loop")
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\0b", "x" * 101])
def test_a_name_that_is_no_name_is_refused(here: Presence, name: str) -> None:
    """It would be a file's name too."""
    with pytest.raises(InvalidInput, match="cannot name a process"):
        here.enter(name)
