"""Who made what from what, as the table of edges has it: what one thing was made from, and what was made from it.

Called by `control`, which knows what a person means by a name. Edges come in the order in which they were made.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sqlalchemy import Connection

from everloop.errors import Conflict
from everloop.records.lineage import Edge, Lineage
from everloop.storage.edges import list_edges_from, list_edges_into


def run_lineage(tx: Connection, run_id: str) -> Lineage:
    """What a run read, what its steps made, and what it registered."""
    me = f"run {run_id}"
    made = list_edges_from(tx, me, begins=True)  # ids are of one length, so what begins so are its steps
    return Lineage(thing=me, upstream=_into_run(tx, me), downstream=tuple(map(_shortened, made)))


def find_model_lineage(tx: Connection, model: str, version: int) -> Lineage | None:
    """What the run that made a version read, and what came of the version; None when there is none."""
    me = f"model {model}@{version}"
    made = [edge for edge in list_edges_into(tx, me) if edge.source.startswith("run ")]
    if not made:
        return None
    read = [above for edge in made for above in _into_run(tx, edge.source)]
    return Lineage(
        thing=me, upstream=(*read, *made), downstream=tuple(map(_from_model, list_edges_from(tx, me)))
    )


def find_dataset_lineage(tx: Connection, dataset: str, version: int | None = None) -> Lineage | None:
    """The batches in a version, by default the newest, and the runs that read it; None when there is none."""
    arrived = {_version(edge): edge for edge in list_edges_into(tx, f"dataset {dataset}@", begins=True)}
    version = max(arrived, default=None) if version is None else version
    if version not in arrived:
        return None
    me = f"dataset {dataset}@{version}"
    return Lineage(
        thing=me,
        upstream=tuple(replace(edge, target=me) for number, edge in arrived.items() if number <= version),
        downstream=tuple(list_edges_from(tx, me)),
    )


def find_artifact_lineage(tx: Connection, digest: str) -> Lineage | None:
    """The steps that made an artifact, those that read it, and what was registered of it; the first 8 digits are enough.

    Raises Conflict when they are those of several artifacts.
    """
    if not re.fullmatch(r"[0-9a-f]{8,64}", digest):
        return None
    made = list_edges_into(tx, f"artifact {digest}", begins=True)
    used = list_edges_from(tx, f"artifact {digest}", begins=True)
    names = {edge.target for edge in made} | {edge.source for edge in used}
    if len(names) > 1:
        raise Conflict(f"{len(names)} artifacts match {digest!r}.", next_step="give more of the digest.")
    if not names:
        return None
    return Lineage(
        thing=_short(names.pop()),
        upstream=tuple(_shortened(replace(edge, how=edge.how.rpartition(" (")[0])) for edge in made),
        downstream=tuple(map(_shortened, used)),
    )


def _into_run(tx: Connection, me: str) -> tuple[Edge, ...]:
    return tuple(list_edges_into(tx, me))


def _from_model(edge: Edge) -> Edge:
    """A run says by which alias it read a model; seen from the model, what matters is why."""
    return replace(edge, how="compared with its candidate") if edge.target.startswith("run ") else edge


def _version(edge: Edge) -> int:
    return int(edge.target.rpartition("@")[2])


def _shortened(edge: Edge) -> Edge:
    return replace(edge, source=_short(edge.source), target=_short(edge.target))


def _short(name: str) -> str:
    """Nobody reads 64 digits."""
    return name[: len("artifact ") + 12] if name.startswith("artifact ") else name
