"""Fixtures: a workspace on SQLite and on PostgreSQL, whose time and ids are the test's to decide."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from everloop.settings import Settings, Storage
from everloop.storage.ids import id_maker
from everloop.storage.workspace import Workspace, open_workspace
from tests.support.postgres import Postgres, running


class HandClock:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2013, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time."""
        return self.time

    def move(self, *, seconds: float) -> None:
        """Let so much time pass; less than none sets it back."""
        self.time += timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's PostgreSQL server."""
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Where an empty workspace may be opened, on each database."""
    if request.param == "sqlite":
        yield Settings(root=tmp_path, module="project")
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.migrated() as address:
        yield Settings(root=tmp_path, module="project", storage=Storage(database=address))


@pytest.fixture(params=["sqlite", "postgres"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The same before the first opening: the database has no tables."""
    if request.param == "sqlite":
        yield Settings(root=tmp_path, module="project")
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.empty() as address:
        yield Settings(root=tmp_path, module="project", storage=Storage(database=address))


@pytest.fixture
def clock() -> HandClock:
    """The time of the test's workspace."""
    return HandClock()


@pytest.fixture
def workspace(place: Settings, clock: HandClock) -> Iterator[Workspace]:
    """An empty workspace, on each database; the same test gets the same ids every time."""
    opened = open_workspace(place)
    yield replace(opened, now=clock, new_id=id_maker(clock, Random(0).getrandbits))
    opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
def two_workspaces(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Workspace, Workspace]]:
    """Two empty workspaces to be compared, on each database."""
    with ExitStack() as stack:
        opened = []
        for name in ("one", "two"):
            address = ""
            if request.param == "postgres":
                server: Postgres = request.getfixturevalue("postgres")
                address = stack.enter_context(server.migrated())
            (tmp_path / name).mkdir()
            storage = Storage(database=address)
            made = open_workspace(Settings(root=tmp_path / name, module="project", storage=storage))
            stack.callback(made.close)
            opened.append(replace(made, now=HandClock()))
        yield opened[0], opened[1]
