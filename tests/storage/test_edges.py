"""Edges of lineage: written once, found from either end, whole names or how they begin."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from everloop.records.lineage import Edge
from everloop.storage.edges import add_edges, list_edges_from, list_edges_into
from everloop.storage.schema import edges
from everloop.storage.workspace import Workspace

NAMES = st.text(st.sampled_from("aAb@_- é~%ÿ\U0001f600"), min_size=1, max_size=4)
EDGES = st.builds(Edge, source=NAMES, target=NAMES, how=st.sampled_from(["read", "stable"]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(EDGES, max_size=12), name=NAMES)
def test_edges_are_found_from_either_end_in_their_order(
    workspace: Workspace, made: list[Edge], name: str
) -> None:
    """As by looking at each: equal names are equal to the letter on each database, and an edge that is there is one."""
    once = list(dict.fromkeys(made))
    with workspace.database.write() as tx:
        tx.execute(delete(edges))
        add_edges(tx, made)
        add_edges(tx, reversed(made))
    with workspace.database.read() as tx:
        assert list_edges_from(tx, name) == [edge for edge in once if edge.source == name]
        assert list_edges_into(tx, name) == [edge for edge in once if edge.target == name]
        begin = [edge for edge in once if edge.source.startswith(name)]
        assert list_edges_from(tx, name, begins=True) == begin
        begin = [edge for edge in once if edge.target.startswith(name)]
        assert list_edges_into(tx, name, begins=True) == begin


def test_a_reason_of_any_length_is_kept(workspace: Workspace) -> None:
    """It is longer than a key of PostgreSQL may be, and the edge is one all the same."""
    edge = Edge(source="model late@3", target="alias champion", how=" ".join(map(str, range(9_000))))
    with workspace.database.write() as tx:
        add_edges(tx, [edge, edge])
        assert list_edges_from(tx, "model late@3") == [edge]
        assert tx.execute(select(func.count()).select_from(edges)).scalar_one() == 1


def test_an_edge_goes_with_what_it_tells_of(workspace: Workspace) -> None:
    """When the transaction is undone, nothing was made and nothing came of it."""
    try:
        with workspace.database.write() as tx:
            add_edges(tx, [Edge(source="batch a", target="dataset flights@0", how="appended")])
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    with workspace.database.read() as tx:
        assert list_edges_from(tx, "batch a") == []
