"""Events and lineage as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text
from rich.tree import Tree

from everloop.app.output import describe_data, print_table, print_wide, shortened
from everloop.records.events import Event
from everloop.records.lineage import Edge, Lineage


def print_events(found: Sequence[Event], *, empty: str, now: datetime) -> None:
    """A table of events, oldest first."""
    rows = [(e.seq, e.time, e.short_type, shortened(e.subject), describe_data(e.data)) for e in found]
    print_table("events", ("#", "when, UTC", "type", "subject", "data"), rows, empty=empty, now=now)


def print_lineage(found: Lineage) -> None:
    """A tree up and a tree down."""
    tree = Tree(Text(found.thing, style="bold"))
    _branch(tree, "made from", found.upstream, up=True)
    _branch(tree, "led to", found.downstream, up=False)
    print_wide(tree)


def _branch(tree: Tree, title: str, edges: Sequence[Edge], *, up: bool) -> None:
    branch = tree.add(Text(title if edges else f"{title}: nothing that was recorded", style="dim"))
    for edge in edges:
        arrow = f"{edge.source} → {edge.target}" if up else edge.target
        branch.add(Text.assemble(shortened(arrow), ("  " + shortened(edge.how), "dim")))
