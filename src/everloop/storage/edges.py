"""The edges of lineage: what was made from what, written by each room in the transaction that makes it.

An edge is never taken back, and the same one again is one. Predictions have none: they are too many, and the inference
log knows which model gave each.
"""

from collections.abc import Iterable

from sqlalchemy import Column, ColumnElement, Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from everloop.records.lineage import Edge
from everloop.storage.codec import digest_of
from everloop.storage.schema import edges


def add_edges(tx: Connection, made: Iterable[Edge]) -> None:
    """Write edges with the caller's other changes."""
    rows = [_row(edge) for edge in made]
    if rows:
        dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
        tx.execute(dialect.insert(edges).on_conflict_do_nothing(), rows)


def list_edges_into(tx: Connection, name: str, *, begins: bool = False) -> list[Edge]:
    """What a thing was made from, oldest first; with `begins`, each thing whose name begins so."""
    return _list(tx, edges.c.target, name, begins)


def list_edges_from(tx: Connection, name: str, *, begins: bool = False) -> list[Edge]:
    """What was made from a thing, oldest first; with `begins`, from each whose name begins so."""
    return _list(tx, edges.c.source, name, begins)


def _row(edge: Edge) -> dict[str, str]:
    digest = digest_of([edge.source, edge.target, edge.how])
    return {"source": edge.source, "target": edge.target, "how": edge.how, "digest": digest}


def _list(tx: Connection, end: Column[str], name: str, begins: bool) -> list[Edge]:
    query = select(edges.c.source, edges.c.target, edges.c.how)
    query = query.where(_begins(end, name) if begins else end == name).order_by(edges.c.seq)
    return [Edge(**row) for row in tx.execute(query).mappings()]


def _begins(end: Column[str], name: str) -> ColumnElement[bool]:
    # As a range, which an index answers; LIKE would read everything, and on SQLite take capitals for small letters.
    return (end >= name) & (end < name[:-1] + chr(ord(name[-1]) + 1))
