"""How far each reader of the event ledger has come: written in the transaction that acts on what was read.

A reader that dies before that transaction has read nothing, and one that dies after it reads nothing twice.
"""

from sqlalchemy import Connection, select, update

from everloop.storage.database import insert_once
from everloop.storage.schema import cursors


def position(tx: Connection, reader: str) -> int:
    """The place in the ledger up to which this reader has read; 0 when it has not begun."""
    query = select(cursors.c.seq).where(cursors.c.reader == reader)
    return tx.execute(query).scalar_one_or_none() or 0


def advance(tx: Connection, reader: str, seq: int) -> None:
    """Go on from here the next time."""
    if not insert_once(tx, cursors, {"reader": reader, "seq": seq}):
        tx.execute(update(cursors).where(cursors.c.reader == reader).values(seq=seq))
