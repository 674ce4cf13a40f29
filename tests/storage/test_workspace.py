"""Opening a workspace: what it makes, what it leaves alone, and what it says when it cannot."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from everloop.clock import FileClock
from everloop.errors import InvalidInput
from everloop.records.events import EventType
from everloop.settings import ClockSettings, Settings, Storage
from everloop.storage.database import Database
from everloop.storage.workspace import open_workspace


def test_opening_makes_everything_and_opening_again_finds_it(tmp_path: Path) -> None:
    """The folder hides itself from git, so that a run does not make the project look changed."""
    place = Settings(root=tmp_path, module="project", storage=Storage(folder="deep/down"))
    for _ in range(2):
        workspace = open_workspace(place)
        assert workspace.folder == tmp_path / "deep" / "down"
        workspace.close()
    assert (tmp_path / "deep" / "down" / "everloop.db").is_file()
    assert (tmp_path / "deep" / "down" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("folder", [".", ".."])
def test_a_folder_that_holds_the_project_is_not_hidden_from_git(tmp_path: Path, folder: str) -> None:
    """Hiding it would hide the project's code."""
    root = tmp_path / "project"
    root.mkdir()
    open_workspace(Settings(root=root, module="project", storage=Storage(folder=folder))).close()
    assert not list(tmp_path.rglob(".gitignore"))


def test_a_gitignore_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    """Also when it says something else."""
    (tmp_path / ".everloop").mkdir()
    (tmp_path / ".everloop" / ".gitignore").write_text("mine")
    open_workspace(Settings(root=tmp_path, module="project")).close()
    assert (tmp_path / ".everloop" / ".gitignore").read_text() == "mine"


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    """With the place where another one may be named."""
    (tmp_path / ".everloop").write_text("")
    with pytest.raises(InvalidInput, match=r"cannot be written.*\[storage\]"):
        open_workspace(Settings(root=tmp_path, module="project"))


@pytest.mark.parametrize(
    "name", ["with space", "ünïcode", "why?mode=ro", "a#b", "100%20", "a=b;c", "'quote'"]
)
def test_a_database_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    """What means something in a database's address means nothing in a folder's name."""
    database = Database("", folder=tmp_path / name)
    with database.write() as tx:
        tx.execute(text("CREATE TABLE t (x INTEGER)"))
    database.close()
    assert {path.name for path in (tmp_path / name).iterdir()} == {"everloop.db", "everloop.db.lock"}


def test_the_clock_and_the_ids_follow_the_settings(tmp_path: Path) -> None:
    """With a clock file the whole workspace lives by it."""
    time = datetime(2013, 5, 1, tzinfo=UTC)
    FileClock(tmp_path / "clock").set(time)
    workspace = open_workspace(
        replace(Settings(root=tmp_path, module="project"), clock=ClockSettings(file="clock"))
    )
    assert workspace.now() == time
    assert workspace.event(EventType.RUN_STARTED, "/s", "s", {}).time == time
    assert workspace.new_id() < workspace.new_id()
    workspace.close()


def test_a_clock_that_was_never_set_is_told_before_anything_is_made(tmp_path: Path) -> None:
    """And what to do about it."""
    place = replace(Settings(root=tmp_path, module="project"), clock=ClockSettings(file="clock"))
    with pytest.raises(InvalidInput, match="does not exist"):
        open_workspace(place)
    assert not place.folder.exists()
