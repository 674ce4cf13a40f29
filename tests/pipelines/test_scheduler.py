"""Which nodes can be done next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from everloop.pipelines.nodes import Node
from everloop.pipelines.scheduler import ready


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Nodes that each need some of those before them."""
    names = [f"n{n}" for n in range(draw(st.integers(0, 9)))]
    return [
        Node(name=name, after=tuple(draw(st.sets(st.sampled_from(names[:place])))) if place else ())
        for place, name in enumerate(names)
    ]


@given(nodes=graphs(), data=st.data())
def test_a_node_is_ready_when_all_that_it_needs_is_done(nodes: list[Node], data: st.DataObject) -> None:
    """In the graph's order; whichever of them is done next, all are done in the end, each once and after what it needs."""
    done: list[str] = []
    while found := list(ready(nodes, done)):
        names = [node.name for node in found]
        assert names == [n.name for n in nodes if n.name not in done and not set(n.needs) - set(done)]
        done.append(data.draw(st.sampled_from(names)))
    assert sorted(done) == [node.name for node in nodes]


@given(nodes=graphs())
def test_one_by_one_they_are_done_in_the_graph_s_order(nodes: list[Node]) -> None:
    """As they were written."""
    done: list[str] = []
    while (node := next(ready(nodes, done), None)) is not None:
        done.append(node.name)
    assert done == [node.name for node in nodes]
