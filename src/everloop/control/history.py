"""What has happened, in order."""

from __future__ import annotations

from collections.abc import Iterable

from everloop.records.events import Event
from everloop.storage import ledger
from everloop.storage.workspace import Workspace


def list_events(
    workspace: Workspace, types: Iterable[str] = (), *, after: int = 0, limit: int | None = None
) -> list[Event]:
    """Events of the ledger, oldest first: of these types, after a place in it, and only the newest if there are more."""
    with workspace.database.read() as tx:
        if limit is None:
            return ledger.read(tx, after=after, types=types)
        return ledger.read_newest(tx, limit, after=after, types=types)
