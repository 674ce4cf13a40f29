"""Datasets: what has arrived, what the data gate said of it, the rows of any version, and the rows it kept out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Connection

from everloop.data import datasets, files
from everloop.data.datasets import count_verdicts, find_latest, get_latest, get_pin, list_dataset_names
from everloop.errors import NotFound
from everloop.project.names import declared
from everloop.project.opening import Project
from everloop.records.data import Batch
from everloop.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """How far a dataset has come."""

    name: str
    version: int | None
    """None before the first batch that passed."""
    rows: int | None
    verdicts: Mapping[str, int]
    """How many batches got each verdict of the data gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOut:
    """A batch that the gate kept out, and where its rows are to be seen."""

    batch: Batch
    file: str | None = None
    """The file that they were written to."""
    rows: tuple[Mapping[str, object], ...] = ()
    """The first of them, where they were to be shown."""


def list_datasets(workspace: Workspace) -> list[DatasetSummary]:
    """Every dataset that something has arrived for, and those that the code names besides."""
    with workspace.database.read() as tx:
        return [_summary(tx, name) for name in _names(workspace, tx)]


def list_batches(workspace: Workspace, dataset: str | None = None) -> list[Batch]:
    """Everything that arrived, accepted or not, oldest first; NotFound for a dataset that nobody knows."""
    with workspace.database.read() as tx:
        if dataset is not None:
            _check_name(workspace, tx, dataset)
        return datasets.list_batches(tx, dataset)


def read_dataset(workspace: Workspace, dataset: str, version: int | None = None) -> pa.Table:
    """The rows of a dataset at a version, by default the newest; NotFound for what is not there."""
    with workspace.database.read() as tx:
        _check_name(workspace, tx, dataset)
        pin = get_latest(tx, dataset) if version is None else get_pin(tx, dataset, version)
    return workspace.tables.read(dataset, pin.version)


def append_file(project: Project, dataset: str, file: Path, *, key: str | None = None) -> Batch:
    """Hand a file to the data gate and, if it passes, append it."""
    return files.append_file(project.workspace, project.declarations.dataset(dataset), file, key=key)


def get_kept_out(workspace: Workspace, dataset: str, key: str) -> Batch:
    """The newest batch of this key that was kept out; a file's key may be given without the digest behind its name."""
    batches = list_batches(workspace, dataset)
    found = [batch for batch in batches if key in (batch.key, batch_name(batch))]
    kept = [batch for batch in found if batch.content is not None]
    if not kept:
        there = ", ".join(dict.fromkeys(batch_name(b) for b in batches if b.content is not None)) or "none"
        reason = (
            f"batch {key} of {dataset} was not kept out." if found else f"{dataset} has no batch {key!r}."
        )
        raise NotFound(reason, next_step=f"kept out were: {there}.")
    return kept[-1]


def show_kept_out(workspace: Workspace, dataset: str, key: str, *, first: int = 20) -> KeptOut:
    """A batch that was kept out, with its first rows."""
    batch = get_kept_out(workspace, dataset, key)
    return KeptOut(
        batch=batch, rows=tuple(datasets.read_kept_out(workspace, batch).slice(0, first).to_pylist())
    )


def save_kept_out(workspace: Workspace, dataset: str, key: str, file: Path) -> KeptOut:
    """Write the rows of a batch that was kept out to a .parquet or .csv file, to be looked at or mended."""
    batch = get_kept_out(workspace, dataset, key)
    files.write_file(datasets.read_kept_out(workspace, batch), file)
    return KeptOut(batch=batch, file=str(file))


def batch_name(batch: Batch) -> str:
    """A batch's key without the digest that a file's key ends with."""
    name, at, digest = batch.key.rpartition("@")
    return name if at and len(digest) == 16 else batch.key


def _summary(tx: Connection, name: str) -> DatasetSummary:
    latest = find_latest(tx, name)
    return DatasetSummary(
        name=name,
        version=None if latest is None else latest.version,
        rows=None if latest is None else latest.rows,
        verdicts=count_verdicts(tx, name),
    )


def _names(workspace: Workspace, tx: Connection) -> list[str]:
    return list(dict.fromkeys([*list_dataset_names(tx), *declared(workspace.settings.root, "dataset")]))


def _check_name(workspace: Workspace, tx: Connection, dataset: str) -> None:
    names = _names(workspace, tx)
    if dataset not in names:
        have = ", ".join(sorted(names)) or "none"
        raise NotFound(f"the project has no dataset {dataset!r}.", next_step=f"it has: {have}.")
