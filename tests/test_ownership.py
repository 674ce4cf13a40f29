"""A table belongs to one room: who breaks that is found, whatever the statement, and whoever helped."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Executable, Table, delete, exists, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from everloop.storage.schema import aliases, edges, events, metrics, runs, tables
from everloop.storage.workspace import Workspace
from tests.support.ownership import OWNERS, SOURCES, Trespass, tables_in, trespasses

ONE = st.sampled_from(tables.sorted_tables)
STATEMENTS: list[Callable[[Table, Table], Executable]] = [
    lambda one, two: select(one.join(two, one.c[0] == two.c[0])),
    lambda one, two: select(one.c[0], two.c[0].label("x")),
    lambda one, two: select(func.count()).select_from(one, two.alias()),
    lambda one, two: select(one).where(one.c[0].in_(select(two.alias("a").c[0]))),
    lambda one, two: select(select(one, two).subquery().c[0]),
    lambda one, two: select(one.c[0]).union_all(select(two.c[0])),
    lambda one, two: insert(one).from_select([one.c[0].name], select(two.c[0])),
    lambda one, two: update(one).values({one.c[0].name: select(two.c[0]).scalar_subquery()}),
    lambda one, two: delete(one).where(exists().where(two.c[0] == one.c[0])),
]


def test_every_table_has_an_owner() -> None:
    """It is one of the rooms."""
    rooms = {path.name for path in SOURCES.iterdir() if (path / "__init__.py").exists()}
    assert set(OWNERS.values()) <= rooms


@given(one=ONE, two=ONE, make=st.sampled_from(STATEMENTS), dialect=st.sampled_from([postgresql, sqlite]))
def test_a_statement_is_read_for_the_tables_that_it_names(
    one: Table, two: Table, make: Callable[[Table, Table], Any], dialect: Any
) -> None:
    """All of them and no other, wherever they stand, in the words of each database."""
    said = str(make(one, two).compile(dialect=dialect.dialect()))
    assert tables_in(said) == {one.name, two.name}


@pytest.mark.parametrize("table", tables.sorted_tables, ids=str)
def test_a_row_is_no_table(table: Table) -> None:
    """Of a column that is called like a table nothing is said."""
    for statement in (insert(table), table.select(), delete(table)):
        assert tables_in(str(statement.compile())) == {table.name}


def send(workspace: Workspace, statement: Executable, *files: str) -> list[Trespass]:
    """Execute a statement in the first of these files of everloop, which is called by the next, and so on."""
    with workspace.database.write() as tx:
        names: dict[str, Any] = {"tx": tx, "statement": statement, "call": None}
        line = "tx.execute(statement)"
        for file in files:
            names["call"] = eval(compile(f"lambda call=call: {line}", str(SOURCES / file), "eval"), names)  # noqa: S307
            line = "call()"
        with trespasses() as found:
            names["call"]()
    return found


@pytest.mark.parametrize(
    ("files", "table"),
    [
        (("rollout/nosy.py",), "model_versions"),
        (("app/cli/nosy.py",), "events"),
        (("metadata/nosy.py", "registry/nosy.py"), "aliases"),
        (("storage/helpful.py", "data/nosy.py"), "aliases"),
        (("storage/database.py", "data/nosy.py"), "edges"),
        (("storage/helpful.py", "storage/more.py", "loop/nosy.py", "control/asking.py"), "labels"),
    ],
)
def test_a_room_that_touches_the_table_of_another_is_found(
    workspace: Workspace, files: tuple[str, ...], table: str
) -> None:
    """It is told whose table, which line and which statement, also when a function of `storage` was asked to do it."""
    statement = select(func.count()).select_from(tables.tables[table])
    (found,) = send(workspace, statement, *files)
    (where,) = [file for file in files if file.endswith("nosy.py")][:1]
    room = where.partition("/")[0]
    begin = f"{room} touches `{table}`, which belongs to {OWNERS[table]}, at {SOURCES / where}:1:\nSELECT"
    assert str(found).startswith(begin)


@pytest.mark.parametrize(
    ("files", "statement"),
    [
        (("metadata/runs.py",), select(runs)),
        (("storage/database.py", "registry/aliases.py", "control/models.py"), delete(aliases)),
        (("storage/ledger.py", "loop/reasons.py"), select(events)),
        (("storage/edges.py", "data/datasets.py"), select(edges)),
        (("storage/migrations/versions/r0009_words.py", "project/opening.py"), delete(metrics)),
        (("storage/migrate.py", "project/opening.py"), select(runs)),
    ],
)
def test_who_may_is_left_alone(workspace: Workspace, files: tuple[str, ...], statement: Executable) -> None:
    """The owner; anybody who goes through `storage` to its tables; a migration."""
    assert send(workspace, statement, *files) == []


def test_a_test_may_touch_everything(workspace: Workspace) -> None:
    """It looks behind the rooms, also in what it hands to one of them."""
    with trespasses() as found, workspace.database.read() as tx:
        tx.execute(select(runs)).all()
        looking = eval(compile("lambda call: call()", str(SOURCES / "loop/asking.py"), "eval"))  # noqa: S307
        looking(lambda: tx.execute(select(runs)).all())
    assert found == []
