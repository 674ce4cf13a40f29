"""Who made what from what: arrows between things, which are named as people name them.

`batch KEY`, `dataset flights@7`, `run ID`, `run ID STEP`, `artifact DIGEST`, `model late@3`, `alias champion`,
`endpoint late`: whoever makes one of them writes the arrow by these names, and lineage finds it by them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One arrow: `source` went into `target`."""

    source: str
    target: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A thing, what it was made from, and what was made from it."""

    thing: str
    upstream: tuple[Edge, ...]
    downstream: tuple[Edge, ...]
