"""Cursors of the ledger's readers: each its own, and moved with what was done about the events."""

import pytest

from everloop.storage import cursors
from everloop.storage.workspace import Workspace


def position(workspace: Workspace, reader: str) -> int:
    """How far a reader has come."""
    with workspace.database.read() as tx:
        return cursors.position(tx, reader)


def test_each_reader_goes_on_where_it_was(workspace: Workspace) -> None:
    """From the beginning at first; nobody moves another's cursor."""
    assert position(workspace, "one") == 0
    for seq in (7, 9):
        with workspace.database.write() as tx:
            cursors.advance(tx, "one", seq)
        assert (position(workspace, "one"), position(workspace, "two")) == (seq, 0)


def test_a_reader_that_dies_has_read_nothing(workspace: Workspace) -> None:
    """The cursor is moved back with everything else that the transaction did."""
    with pytest.raises(ZeroDivisionError), workspace.database.write() as tx:
        cursors.advance(tx, "one", 7)
        raise ZeroDivisionError
    assert position(workspace, "one") == 0
