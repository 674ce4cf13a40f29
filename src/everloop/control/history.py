"""What has happened, in order, and what was made from what."""

from __future__ import annotations

from collections.abc import Iterable

from everloop.metadata import lineage
from everloop.metadata.lineage import Lineage
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


def get_lineage(workspace: Workspace, thing: str) -> Lineage:
    """What a run, a model version, a dataset version, a prediction or an artifact was made from, and what came of it."""
    with workspace.database.read() as tx:
        return lineage.lineage(tx, thing)
