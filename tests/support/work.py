"""What a database is made to do: statements, the rows that they give, and on SQLite the steps of its machine."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import ExecutionContext

from everloop.storage.database import Database


@dataclass(kw_only=True)
class Work:
    """The sum so far."""

    statements: int = 0
    rows: int = 0
    """Rows of SELECT statements; whoever asks here reads all of them."""
    steps: int = 0
    """What SQLite did to find them, whether they were given or passed over; 0 on PostgreSQL, which does not tell."""


@contextmanager
def counting(database: Database) -> Iterator[Work]:
    """Count what is asked of a database for the length of a block."""
    work, ours = Work(), [False]

    def step() -> None:
        work.steps += not ours[0]

    def report(raw: Any, *_: object) -> None:
        if isinstance(raw, sqlite3.Connection):
            raw.set_progress_handler(step, 1)

    def count(
        connection: Connection,
        _cursor: Any,
        statement: str,
        values: Any,
        _context: ExecutionContext,
        many: bool,
    ) -> None:
        if ours[0] or not statement.lstrip("( ").upper().startswith("SELECT"):
            return
        work.statements += 1
        ours[0] = True
        try:
            asked = f"SELECT count(*) FROM ({statement}) AS asked"
            work.rows += connection.exec_driver_sql(asked, values).scalar_one()
        finally:
            ours[0] = False

    event.listen(database.engine, "checkout", report)
    event.listen(database.engine, "after_cursor_execute", count)
    try:
        yield work
    finally:
        event.remove(database.engine, "checkout", report)
        event.remove(database.engine, "after_cursor_execute", count)
