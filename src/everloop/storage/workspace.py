"""Everything a process needs to work on a project's state, opened once at the front door."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from everloop.clock import Clock, FileClock, system_clock
from everloop.errors import InvalidInput
from everloop.records.events import TYPE_PREFIX, Event, EventType
from everloop.records.json import JsonObject
from everloop.settings import Settings
from everloop.storage.blobs import Blobs
from everloop.storage.database import Database
from everloop.storage.durable import make_folder
from everloop.storage.ids import id_maker
from everloop.storage.migrate import migrate
from everloop.storage.tables import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The stores, the clock and the source of ids."""

    settings: Settings
    database: Database
    blobs: Blobs
    tables: Tables
    now: Clock
    new_id: Callable[[], str]

    @property
    def folder(self) -> Path:
        """Where it all lies."""
        return self.settings.folder

    def event(
        self,
        kind: EventType,
        source: str,
        subject: str,
        data: JsonObject,
        *,
        id: str | None = None,
        time: datetime | None = None,
    ) -> Event:
        """A new event of this moment, ready to be written with the change that it tells of."""
        return Event(
            id=id or self.new_id(),
            source=source,
            type=TYPE_PREFIX + kind,
            subject=subject,
            time=time or self.now(),
            data=data,
        )

    def close(self) -> None:
        """Give the database's connections back."""
        self.database.close()


def open_workspace(settings: Settings) -> Workspace:
    """Open the stores, making or migrating the database if that is needed."""
    folder = settings.folder
    opened_at = workspace_clock(settings)()  # a clock that does not work is told before anything is made
    _make_folder(folder, settings.root)
    workspace = attach_workspace(settings)
    try:
        migrate(workspace.database, folder=folder, now=opened_at)
    except BaseException:
        workspace.close()
        raise
    return workspace


def attach_workspace(settings: Settings) -> Workspace:
    """The stores as whoever asks this process to work has opened them: nothing is made or migrated."""
    folder, now = settings.folder, workspace_clock(settings)
    return Workspace(
        settings=settings,
        tables=Tables(folder / "tables"),
        database=Database(settings.storage.database, folder=folder),
        blobs=Blobs(folder / "blobs"),
        now=now,
        new_id=id_maker(now),
    )


def _make_folder(folder: Path, root: Path) -> None:
    try:
        make_folder(folder)
        # What is kept here is no change of the project's code: it must not make every run look dirty.
        if folder not in (root, *root.parents) and not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise InvalidInput(
            f"the storage folder {folder} cannot be written: {error.strerror}.",
            next_step="ask for write access, or name another folder in [storage] of everloop.toml.",
        ) from None


def workspace_clock(settings: Settings) -> Clock:
    """The clock that everloop.toml asks for."""
    if not settings.clock.file:
        return system_clock
    return FileClock((settings.root / settings.clock.file).resolve())
