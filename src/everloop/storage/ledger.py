"""The event ledger: what happened, in order, written in the transaction that made it happen."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Select, func, select

from everloop.records.events import TYPE_PREFIX, Event
from everloop.storage.database import insert_once
from everloop.storage.schema import events


def append(tx: Connection, event: Event) -> bool:
    """Write one event with the caller's other changes; False when `source` and `id` are already there."""
    row = {
        "id": event.id,
        "source": event.source,
        "type": _full(event.type),
        "subject": event.subject,
        "time": event.time,
        "data": dict(event.data),
    }
    return insert_once(tx, events, row)


def read(
    tx: Connection,
    *,
    after: int = 0,
    types: Iterable[str] = (),
    subject: str | None = None,
    limit: int | None = None,
) -> list[Event]:
    """Events after a place in the ledger, oldest first; `types` may leave out the prefix."""
    query = select(events).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
    wanted = [_full(name) for name in types]
    if wanted:
        query = query.where(events.c.type.in_(wanted))
    if subject is not None:
        query = query.where(events.c.subject == subject)
    return _records(tx, query)


def read_newest(tx: Connection, limit: int, *, after: int = 0, types: Iterable[str] = ()) -> list[Event]:
    """The last so many of the same events, oldest first."""
    every = select(events).where(events.c.seq > after).order_by(events.c.seq.desc()).limit(limit)
    # Type by type: each is a step along an index, while of several at once a database would read all that there are.
    queries = [every.where(events.c.type == name) for name in {_full(name) for name in types}] or [every]
    found = [event for query in queries for event in _records(tx, query)]
    return sorted(found, key=lambda event: event.seq)[-limit:]


def find_event(tx: Connection, source: str, id: str) -> Event | None:
    """The event of this source with this id; None when it has not happened."""
    found = _records(tx, select(events).where(events.c.source == source, events.c.id == id))
    return found[0] if found else None


def last_seq(tx: Connection) -> int:
    """Where the ledger ends now; 0 while it is empty."""
    return tx.execute(select(func.max(events.c.seq))).scalar_one() or 0


def _records(tx: Connection, query: Select[Any]) -> list[Event]:
    return [Event(**row) for row in tx.execute(query).mappings()]


def _full(name: str) -> str:
    return name if name.startswith(TYPE_PREFIX) else TYPE_PREFIX + name
