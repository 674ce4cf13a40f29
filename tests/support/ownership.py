"""Whether each room leaves the tables of others alone: every statement of every test, held against the room that sends it.

`info` of a table in `storage/schema.py` names its owner. The sender is the nearest caller in `src/everloop` that is not
`storage`, whose tables everybody reaches through its functions; those of `storage/database.py` execute what others hand to
them, and count for nothing. Migrations may touch everything, and so may a test. Processes that a test starts are not
watched.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

import everloop
from everloop.storage.schema import tables

OWNERS = {table.name: str(table.info.get("room")) for table in tables.sorted_tables}
SOURCES = Path(everloop.__file__).parent
_TESTS = Path(__file__).parents[1]
_NAMED = re.compile(
    r'\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+"?(\w+)|\b(\w+)"?\.|,\s+"?(\w+)"?\s+AS\s', re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trespass:
    """A statement of one room about the table of another."""

    table: str
    room: str
    where: str
    statement: str

    def __str__(self) -> str:
        return (
            f"{self.room} touches `{self.table}`, which belongs to {OWNERS[self.table]}, "
            f"at {self.where}:\n{self.statement}"
        )


_found: list[Trespass] = []


@pytest.fixture(autouse=True)
def tables_are_left_to_their_owners() -> Iterator[None]:
    """Every test fails in which a room touches another room's table."""
    with trespasses() as found:
        yield
    assert not found, "\n\n".join(map(str, found))


@contextmanager
def trespasses() -> Iterator[list[Trespass]]:
    """What happens inside, and is told to nobody else."""
    before, found = len(_found), list[Trespass]()
    try:
        yield found
    finally:
        found += dict.fromkeys(_found[before:])
        del _found[before:]


@event.listens_for(Engine, "before_cursor_execute")
def _watch(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
    named = tables_in(statement)
    if named and (caller := _caller()) is not None:
        room, where, asked_storage = caller
        for table in named:
            if OWNERS[table] != room and not (asked_storage and OWNERS[table] == "storage"):
                _found.append(Trespass(table=table, room=room, where=where, statement=statement))


@lru_cache(maxsize=4096)
def tables_in(statement: str) -> frozenset[str]:
    """The tables that a statement names."""
    return frozenset(name for match in _NAMED.findall(statement) for name in match if name in OWNERS)


def _caller() -> tuple[str, str, bool] | None:
    """The room that sends the statement, the line, and whether a function of `storage` does it for the room."""
    asked_storage = False
    frame = sys._getframe(2)
    while frame is not None:
        place = _place(frame.f_code.co_filename)
        if place in ("tests", "migrations"):
            return None
        if place == "storage":
            asked_storage = True
        elif place is not None:
            return place, f"{frame.f_code.co_filename}:{frame.f_lineno}", asked_storage
        frame = frame.f_back  # type: ignore[assignment]
    return None


@lru_cache(maxsize=4096)
def _place(file: str) -> str | None:
    """The room that a file of code is in; None for libraries, and for what is as general as one."""
    path = Path(file)
    if path.is_relative_to(_TESTS):
        return "tests"
    if not path.is_relative_to(SOURCES):
        return None
    room, *rest = path.relative_to(SOURCES).with_suffix("").parts
    if room == "storage" and rest == ["database"]:
        return None
    return "migrations" if room == "storage" and rest[:1] in (["migrate"], ["migrations"]) else room
