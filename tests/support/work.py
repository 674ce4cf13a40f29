"""What a database is made to do: statements, the rows that they give, and on SQLite the steps of its machine."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, event

from everloop.storage.database import Database


@dataclass(kw_only=True)
class Work:
    """The sum so far."""

    statements: int = 0
    rows: int = 0
    """Of all SELECT statements; whoever asks here reads every row."""
    steps: int = 0
    """What SQLite did to find them, whether they were given or passed over; 0 on PostgreSQL, which does not tell."""


@contextmanager
def counting(database: Database) -> Iterator[Work]:
    """Count what a database is asked for the length of a block, in transactions that begin within it."""
    work, counts = Work(), [True]

    def step() -> None:
        work.steps += counts[0]

    def begin(raw: Any, *_: object) -> None:
        if isinstance(raw, sqlite3.Connection):
            raw.set_progress_handler(step, 1)

    def end(raw: Any, *_: object) -> None:
        if isinstance(raw, sqlite3.Connection):
            raw.set_progress_handler(None, 1)

    def count(connection: Connection, _cursor: Any, statement: str, values: Any, *_: object) -> None:
        if not counts[0] or not statement.startswith("SELECT"):
            return
        work.statements += 1
        counts[0] = False
        asked = f"SELECT count(*) FROM ({statement}) AS asked"
        work.rows += connection.exec_driver_sql(asked, values).scalar_one()
        counts[0] = True

    heard: dict[str, Callable[..., None]] = {"checkout": begin, "checkin": end, "after_cursor_execute": count}
    for name, listener in heard.items():
        event.listen(database.engine, name, listener)
    try:
        yield work
    finally:
        for name, listener in heard.items():
            event.remove(database.engine, name, listener)
