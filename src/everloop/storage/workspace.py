"""Everything a process needs to work on a project's state, opened once at the front door."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from everloop.clock import Clock, FileClock, system_clock
from everloop.records.events import TYPE_PREFIX, Event
from everloop.records.json import JsonObject
from everloop.settings import Settings
from everloop.storage.blobs import Blobs
from everloop.storage.database import Database
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
        kind: str,
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
    now = workspace_clock(settings)
    database = Database(settings.storage.database, folder=folder)
    migrate(database, folder=folder, now=now())
    return Workspace(
        settings=settings,
        database=database,
        blobs=Blobs(folder / "blobs"),
        tables=Tables(folder / "tables"),
        now=now,
        new_id=id_maker(now),
    )


def workspace_clock(settings: Settings) -> Clock:
    """The clock that everloop.toml asks for."""
    if not settings.clock.file:
        return system_clock
    return FileClock((settings.root / settings.clock.file).resolve())
