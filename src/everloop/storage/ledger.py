"""The event ledger: what happened, in order, written in the transaction that made it happen."""

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from everloop.records.events import TYPE_PREFIX, Event
from everloop.storage.database import insert_once
from everloop.storage.schema import events


def append(tx: Connection, event: Event) -> bool:
    """Write one event with the caller's other changes; False when `source` and `id` are already there."""
    row = {
        "id": event.id,
        "source": event.source,
        "type": event.type if event.type.startswith(TYPE_PREFIX) else TYPE_PREFIX + event.type,
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
    query = select(events).where(events.c.seq > after).order_by(events.c.seq)
    wanted = [name if name.startswith(TYPE_PREFIX) else TYPE_PREFIX + name for name in types]
    if wanted:
        query = query.where(events.c.type.in_(wanted))
    if subject is not None:
        query = query.where(events.c.subject == subject)
    if limit is not None:
        query = query.limit(limit)
    return [Event(**row) for row in tx.execute(query).mappings()]


def last_seq(tx: Connection) -> int:
    """Where the ledger ends now; 0 while it is empty."""
    return tx.execute(select(func.max(events.c.seq))).scalar_one() or 0
