"""Who made what from what: every edge that the records hold around one thing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from everloop.errors import Conflict, NotFound
from everloop.metadata.runs import get_run
from everloop.records.names import find_reference
from everloop.storage.schema import (
    alias_history,
    aliases,
    batches,
    model_versions,
    predictions,
    run_datasets,
    run_models,
    step_artifacts,
)


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


def lineage(tx: Connection, thing: str) -> Lineage:
    """The lineage of a run, `model@3`, `model@champion`, `dataset@7`, a dataset, a prediction or an artifact."""
    for find in (_of_versioned, _of_dataset, _of_prediction, _of_artifact):
        found = find(tx, thing)
        if found is not None:
            return found
    try:
        run = get_run(tx, thing)
    except NotFound:
        raise NotFound(
            f"nothing is called {thing!r}.",
            next_step="name a run, model@version, dataset@version, a prediction id or an artifact's digest.",
        ) from None
    return Lineage(
        thing=f"run {run.id}", upstream=tuple(_into_run(tx, run.id)), downstream=tuple(_from_run(tx, run.id))
    )


def _of_versioned(tx: Connection, thing: str) -> Lineage | None:
    meant = find_reference(thing)
    if meant is None:
        return None
    version = meant.version if meant.alias is None else _find_alias(tx, meant.name, meant.alias)
    if version is None:
        return None
    return _of_model(tx, meant.name, version) or _of_dataset_version(tx, meant.name, version)


def _find_alias(tx: Connection, model: str, alias: str) -> int | None:
    query = select(aliases.c.version).where(aliases.c.model == model, aliases.c.alias == alias)
    return tx.execute(query).scalar_one_or_none()


def _of_model(tx: Connection, name: str, version: int) -> Lineage | None:
    query = select(model_versions.c.run_id).where(
        model_versions.c.model == name, model_versions.c.version == version
    )
    run_id = tx.execute(query).scalar_one_or_none()
    if run_id is None:
        return None
    me = f"model {name}@{version}"
    made = Edge(source=f"run {run_id}", target=me, how="registered")
    return Lineage(
        thing=me, upstream=(*_into_run(tx, run_id), made), downstream=tuple(_from_model(tx, name, version))
    )


def _of_dataset(tx: Connection, name: str) -> Lineage | None:
    newest = tx.execute(select(func.max(batches.c.version)).where(batches.c.dataset == name)).scalar_one()
    return None if newest is None else _of_dataset_version(tx, name, newest)


def _of_dataset_version(tx: Connection, name: str, version: int) -> Lineage | None:
    query = select(batches.c.key, batches.c.version).where(
        batches.c.dataset == name, batches.c.version <= version
    )
    rows = tx.execute(query.order_by(batches.c.version)).all()
    if not rows or rows[-1].version != version:
        return None
    me = f"dataset {name}@{version}"
    read = select(run_datasets.c.run_id).where(
        run_datasets.c.dataset == name, run_datasets.c.version == version
    )
    read = read.order_by(run_datasets.c.run_id)
    return Lineage(
        thing=me,
        upstream=tuple(Edge(source=f"batch {row.key}", target=me, how="appended") for row in rows),
        downstream=tuple(
            Edge(source=me, target=f"run {run}", how="read") for run in tx.execute(read).scalars()
        ),
    )


def _of_prediction(tx: Connection, thing: str) -> Lineage | None:
    rows = tx.execute(
        select(predictions.c.model, predictions.c.version, predictions.c.arm)
        .where(predictions.c.id == thing)
        .order_by(predictions.c.arm)
    )
    found = rows.all()
    if not found:
        return None
    me = f"prediction {thing}"
    answered = [Edge(source=f"model {row.model}@{row.version}", target=me, how=row.arm) for row in found]
    above = [edge for row in found for edge in _model_upstream(tx, row.model, row.version)]
    return Lineage(thing=me, upstream=(*dict.fromkeys(above), *answered), downstream=())


def _model_upstream(tx: Connection, name: str, version: int) -> tuple[Edge, ...]:
    found = _of_model(tx, name, version)
    return () if found is None else found.upstream


def _of_artifact(tx: Connection, thing: str) -> Lineage | None:
    if not re.fullmatch(r"[0-9a-f]{8,64}", thing):
        return None
    query = select(step_artifacts).where(step_artifacts.c.digest.startswith(thing))
    query = query.order_by(step_artifacts.c.run_id, step_artifacts.c.step, step_artifacts.c.position)
    rows = tx.execute(query).mappings().all()
    digests = {row["digest"] for row in rows}
    if not digests:
        return None
    if len(digests) > 1:
        raise Conflict(f"{len(digests)} artifacts match {thing!r}.", next_step="give more of the digest.")
    me = f"artifact {rows[0]['digest'][:12]}"
    used = [(f"run {row['run_id']} {row['step']}", row["name"], row["direction"]) for row in rows]
    made = (Edge(source=run, target=me, how=name) for run, name, direction in used if direction == "output")
    read = (Edge(source=me, target=run, how=name) for run, name, direction in used if direction == "input")
    return Lineage(
        thing=me, upstream=tuple(made), downstream=(*read, *_registered(tx, me, rows[0]["digest"]))
    )


def _registered(tx: Connection, me: str, digest: str) -> Iterator[Edge]:
    query = select(model_versions.c.model, model_versions.c.version).where(model_versions.c.digest == digest)
    for row in tx.execute(query.order_by(model_versions.c.model, model_versions.c.version)):
        yield Edge(source=me, target=f"model {row.model}@{row.version}", how="registered")


def _into_run(tx: Connection, run_id: str) -> Iterator[Edge]:
    me = f"run {run_id}"
    for row in tx.execute(
        select(run_datasets).where(run_datasets.c.run_id == run_id).order_by(run_datasets.c.dataset)
    ).mappings():
        yield Edge(source=f"dataset {row['dataset']}@{row['version']}", target=me, how="read")
    pinned = select(run_models).where(run_models.c.run_id == run_id)
    for row in tx.execute(pinned.order_by(run_models.c.model, run_models.c.alias)).mappings():
        if row["version"] is not None:
            yield Edge(source=f"model {row['model']}@{row['version']}", target=me, how=row["alias"])


def _from_run(tx: Connection, run_id: str) -> Iterator[Edge]:
    made = select(step_artifacts).where(
        step_artifacts.c.run_id == run_id, step_artifacts.c.direction == "output"
    )
    for row in tx.execute(made.order_by(step_artifacts.c.step, step_artifacts.c.position)).mappings():
        source = f"run {run_id} {row['step']}"
        yield Edge(
            source=source, target=f"artifact {row['digest'][:12]}", how=f"{row['name']} ({row['format']})"
        )
    registered = select(model_versions).where(model_versions.c.run_id == run_id)
    for row in tx.execute(registered.order_by(model_versions.c.model)).mappings():
        yield Edge(source=f"run {run_id}", target=f"model {row['model']}@{row['version']}", how="registered")


def _from_model(tx: Connection, name: str, version: int) -> Iterator[Edge]:
    me = f"model {name}@{version}"
    moves = select(alias_history).where(alias_history.c.model == name, alias_history.c.version == version)
    for row in tx.execute(moves.order_by(alias_history.c.time)).mappings():
        yield Edge(source=me, target=f"alias {row['alias']}", how=f"moved by {row['who']}: {row['why']}")
    compared = select(run_models.c.run_id).where(run_models.c.model == name, run_models.c.version == version)
    for run_id in tx.execute(compared.order_by(run_models.c.run_id)).scalars():
        yield Edge(source=me, target=f"run {run_id}", how="compared with its candidate")
    asked = (
        select(func.count())
        .select_from(predictions)
        .where(predictions.c.model == name, predictions.c.version == version)
    )
    number = tx.execute(asked).scalar_one()
    if number:
        yield Edge(source=me, target=f"{number:,} predictions", how="scored")
