"""Which nodes of a graph can be done next: a function of the graph and of what is done, asked by the writer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from everloop.pipelines.nodes import Node


def ready(nodes: Iterable[Node], done: Collection[str]) -> Iterator[Node]:
    """The nodes that are not done and need nothing but what is, in the graph's order.

    >>> nodes = [Node(name="a"), Node(name="b", after=("a",)), Node(name="c")]
    >>> [node.name for node in ready(nodes, {"a"})]
    ['b', 'c']
    """
    return (node for node in nodes if node.name not in done and all(need in done for need in node.needs))
