"""Datasets as versioned tables: every batch is judged at the door, and only what passes becomes a version."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.engine import RowMapping

from everloop.data.expect import judge_expectations
from everloop.data.gate import judge_batch
from everloop.data.profile import Profile, profile
from everloop.data.schema import NULL, infer
from everloop.errors import InvalidInput, NotFound, shown
from everloop.records.data import Batch, DatasetPin, DataVerdict, Finding, Schema
from everloop.records.datasets import Dataset
from everloop.records.events import EventType
from everloop.records.json import JsonObject
from everloop.records.lineage import Edge
from everloop.storage import ledger
from everloop.storage.codec import dumps, from_json, loads, to_json
from everloop.storage.database import in_groups
from everloop.storage.edges import add_edges
from everloop.storage.locks import FileLock
from everloop.storage.schema import batches, schemas
from everloop.storage.workspace import Workspace

_MOST_PROFILES = 24
"""How many accepted batches the gate looks back on."""
_SETTLED = batches.c.version.is_not(None) | batches.c.verdict.in_(
    [v.value for v in DataVerdict if v.keeps_out]
)
_LONGEST_KEY = 150  # with the kind of an event before it, it is the id of that event


def append(workspace: Workspace, dataset: Dataset, rows: pa.Table, *, key: str) -> Batch:
    """Judge a batch and, unless it is kept out, make it the dataset's next version.

    `key` is the sender's name for the batch: sent again, after a crash or by mistake, it changes nothing and gets
    the same answer. Rows that are kept out are not lost: they lie in the blobs, by the digest in `content`.
    """
    if not key or len(key) > _LONGEST_KEY:
        raise InvalidInput(
            f"the key of a batch of {dataset.name} must have 1 to {_LONGEST_KEY} characters.",
            next_step="give it a shorter name, and not an empty one.",
        )
    if not rows.num_rows:
        raise InvalidInput(
            f"batch {key} of {dataset.name} has no rows.", next_step="send it when there are some."
        )
    with FileLock(workspace.folder / "tables" / f"{dataset.name}.lock").held():
        _finish_interrupted(workspace, dataset.name)
        with workspace.database.read() as tx:
            known = _find(tx, dataset.name, key)
        if known is not None and is_settled(known):
            return known
        batch, schema = _judge(workspace, dataset, rows, key)
        if batch.verdict.keeps_out:
            return _keep_out(workspace, batch, rows)
        return _accept(workspace, batch, rows, schema)


def is_settled(batch: Batch) -> bool:
    """Whether a batch is in the dataset or kept out of it; one whose sender died before either is neither."""
    return batch.version is not None or batch.verdict.keeps_out


def get_latest(tx: Connection, dataset: str) -> DatasetPin:
    """The newest version, or NotFound."""
    found = find_latest(tx, dataset)
    if found is None:
        raise NotFound(
            f"dataset {dataset} has no data yet.",
            next_step=f"everloop append {dataset} FILE.parquet",
        )
    return found


def find_latest(tx: Connection, dataset: str) -> DatasetPin | None:
    """The newest version; None when nothing has been accepted yet."""
    query = select(batches.c.version, batches.c.total_rows)
    query = query.where(batches.c.dataset == dataset, batches.c.version.is_not(None))
    row = tx.execute(query.order_by(batches.c.version.desc()).limit(1)).one_or_none()
    return None if row is None else DatasetPin(dataset=dataset, version=row.version, rows=row.total_rows)


def get_pin(tx: Connection, dataset: str, version: int) -> DatasetPin:
    """One version of a dataset, or NotFound with the versions there are."""
    newest = get_latest(tx, dataset)
    if type(version) is not int:
        raise InvalidInput(
            f"version {shown(version)} of dataset {dataset} is no whole number.",
            next_step=f"it has 0 to {newest.version}.",
        )
    if not 0 <= version <= newest.version:
        raise NotFound(
            f"dataset {dataset} has no version {version}.", next_step=f"it has 0 to {newest.version}."
        )
    query = select(batches.c.total_rows).where(batches.c.dataset == dataset, batches.c.version == version)
    rows = tx.execute(query).scalar_one()
    return DatasetPin(dataset=dataset, version=version, rows=rows)


def list_batches(tx: Connection, dataset: str | None = None) -> list[Batch]:
    """Everything that arrived, accepted or not, oldest first."""
    query = select(batches).order_by(
        batches.c.dataset, batches.c.arrived_at, batches.c.version, batches.c.key
    )
    if dataset is not None:
        query = query.where(batches.c.dataset == dataset)
    return [_record(row) for row in tx.execute(query).mappings()]


def list_changes(tx: Connection, dataset: str, *, after: int) -> list[Batch]:
    """Batches of later versions whose values had changed plausibly (`retrain`), oldest first."""
    query = select(batches).where(batches.c.dataset == dataset, batches.c.version > after)
    query = query.where(batches.c.verdict == DataVerdict.RETRAIN.value).order_by(batches.c.version)
    return [_record(row) for row in tx.execute(query).mappings()]


def list_settled(tx: Connection, dataset: str, keys: Sequence[str]) -> dict[str, int | None]:
    """Those of these keys that need not be sent again, each with its version; None for a batch that was kept out."""
    query = select(batches.c.key, batches.c.version).where(batches.c.dataset == dataset, _SETTLED)
    found: dict[str, int | None] = {}
    for group in in_groups(keys):
        rows = tx.execute(query.where(batches.c.key.in_(group)))
        found |= {row.key: row.version for row in rows}
    return found


def list_accepted(tx: Connection, dataset: str, beginning: str) -> list[str]:
    """Keys that begin so, of the batches that became versions."""
    query = select(batches.c.key).where(batches.c.dataset == dataset, batches.c.version.is_not(None))
    found = tx.execute(query.where(batches.c.key.startswith(beginning, autoescape=True))).scalars()
    # SQLite's LIKE takes capitals for small letters.
    return [key for key in found if key.startswith(beginning)]


def count_verdicts(tx: Connection, dataset: str) -> dict[str, int]:
    """How many batches of a dataset got each verdict, in the order in which the verdicts first came."""
    query = select(batches.c.verdict, func.count()).where(batches.c.dataset == dataset)
    first = func.min(batches.c.arrived_at), func.min(batches.c.version), batches.c.verdict
    rows = tx.execute(query.group_by(batches.c.verdict).order_by(*first))
    return {verdict: number for verdict, number in rows}


def list_dataset_names(tx: Connection) -> list[str]:
    """Every dataset that a batch has arrived for."""
    return list(tx.execute(select(batches.c.dataset).distinct().order_by(batches.c.dataset)).scalars())


def read_kept_out(workspace: Workspace, batch: Batch) -> pa.Table:
    """The rows of a batch that was stopped or quarantined."""
    if batch.content is None:
        raise NotFound(
            f"batch {batch.key} of {batch.dataset} was not kept out.",
            next_step=f"`everloop datasets {batch.dataset}` shows which were.",
        )
    return pq.read_table(pa.BufferReader(workspace.blobs.get(batch.content)))


def _judge(workspace: Workspace, dataset: Dataset, rows: pa.Table, key: str) -> tuple[Batch, Schema]:
    with workspace.database.read() as tx:
        schema, history = _schema(tx, dataset.name), _history(tx, workspace, dataset.name)
    found = infer(rows)
    if schema is None:
        _refuse_untyped(dataset, found)
    seen = profile(rows, edges=history[-1].edges() if history else None)
    broken = judge_expectations(dataset.expect, rows)
    verdict, findings = judge_batch(dataset, schema, seen, found, history, broken)
    batch = Batch(
        dataset=dataset.name,
        key=key,
        arrived_at=workspace.now(),
        rows=rows.num_rows,
        verdict=verdict,
        findings=findings,
        version=None,
        content=None,
        profile=workspace.blobs.put(dumps(seen)),
    )
    return batch, schema or found


def _refuse_untyped(dataset: Dataset, found: Schema) -> None:
    untyped = [column.name for column in found.columns if column.type == NULL]
    if untyped:
        raise InvalidInput(
            f"{', '.join(untyped)} of {dataset.name} holds nothing but nulls, so its type is not known.",
            next_step="cast it before the first batch is appended.",
        )


def _keep_out(workspace: Workspace, batch: Batch, rows: pa.Table) -> Batch:
    kept = replace(batch, content=workspace.blobs.put(_parquet(rows)))
    with workspace.database.write() as tx:
        _put(tx, kept)
        _emit(
            tx,
            workspace,
            EventType.DATA_STOPPED if batch.verdict is DataVerdict.STOP else EventType.DATA_QUARANTINED,
            kept,
        )
    return kept


def _parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    try:
        pq.write_table(rows, sink)
    except pa.ArrowException as error:
        raise InvalidInput(
            f"the batch was kept out, and its rows cannot be kept aside: {error}.",
            next_step="cast the column to a type that Parquet has.",
        ) from None
    return sink.getvalue()


def _accept(workspace: Workspace, batch: Batch, rows: pa.Table, schema: Schema) -> Batch:
    # The row comes first, then the table, then the version: whoever dies in between left enough to finish it.
    with workspace.database.write() as tx:
        _put(tx, batch)
        _keep_schema(tx, workspace, batch.dataset, schema)
    try:
        version = workspace.tables.append(batch.dataset, rows.select(schema.names()), key=batch.key)
    except InvalidInput:  # a type that no table can hold: the batch was never there
        with workspace.database.write() as tx:
            _drop(tx, batch)
        raise
    return _record_version(workspace, batch.dataset, batch.key, version)


def _record_version(workspace: Workspace, dataset: str, key: str, version: int) -> Batch:
    with workspace.database.write() as tx:
        before = find_latest(tx, dataset)
        batch = _get(tx, dataset, key)
        total = batch.rows + (0 if before is None else before.rows)
        accepted = replace(batch, version=version, total_rows=total)
        _put(tx, accepted)
        add_edges(tx, [Edge(source=f"batch {key}", target=f"dataset {dataset}@{version}", how="appended")])
        _emit(tx, workspace, EventType.DATA_ARRIVED, accepted)
        if accepted.verdict is DataVerdict.RETRAIN:
            _emit(tx, workspace, EventType.DATA_CHANGED, accepted)
        return accepted


def _finish_interrupted(workspace: Workspace, dataset: str) -> None:
    """A batch whose rows reached the table and whose version did not reach the database is finished first."""
    with workspace.database.read() as tx:
        query = select(batches.c.key).where(batches.c.dataset == dataset, ~_SETTLED)
        interrupted = tx.execute(query.order_by(batches.c.arrived_at, batches.c.key)).scalars().all()
    for key in interrupted:
        version = workspace.tables.find_version(dataset, key)
        if version is not None:
            _record_version(workspace, dataset, key, version)


def _put(tx: Connection, batch: Batch) -> None:
    """Write a batch, in place of what an interrupted try of the same key has left."""
    row = {name: getattr(batch, name) for name in batch.__slots__}
    row |= {"verdict": batch.verdict.value, "findings": to_json(batch.findings)}
    _drop(tx, batch)
    tx.execute(insert(batches).values(**row))


def _drop(tx: Connection, batch: Batch) -> None:
    tx.execute(delete(batches).where(batches.c.dataset == batch.dataset, batches.c.key == batch.key))


def _keep_schema(tx: Connection, workspace: Workspace, dataset: str, schema: Schema) -> None:
    tx.execute(delete(schemas).where(schemas.c.dataset == dataset))
    row = {"dataset": dataset, "schema": to_json(schema), "time": workspace.now()}
    tx.execute(insert(schemas).values(**row))


def _schema(tx: Connection, dataset: str) -> Schema | None:
    """What the dataset looks like; one that was written for a first batch that never arrived does not count."""
    if find_latest(tx, dataset) is None:
        return None
    return from_json(
        Schema, tx.execute(select(schemas.c.schema).where(schemas.c.dataset == dataset)).scalar_one()
    )


def _history(tx: Connection, workspace: Workspace, dataset: str) -> list[Profile]:
    query = select(batches.c.profile).where(batches.c.dataset == dataset, batches.c.version.is_not(None))
    digests = tx.execute(query.order_by(batches.c.version.desc()).limit(_MOST_PROFILES)).scalars().all()
    return [loads(Profile, workspace.blobs.get(digest)) for digest in reversed(digests) if digest is not None]


def _find(tx: Connection, dataset: str, key: str) -> Batch | None:
    query = select(batches).where(batches.c.dataset == dataset, batches.c.key == key)
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else _record(row)


def _get(tx: Connection, dataset: str, key: str) -> Batch:
    found = _find(tx, dataset, key)
    if found is None:
        raise NotFound(
            f"dataset {dataset} has no batch {key!r}.", next_step=f"`everloop datasets {dataset}` lists them."
        )
    return found


def _record(row: RowMapping) -> Batch:
    findings = from_json(tuple[Finding, ...], row["findings"])
    return Batch(**dict(row) | {"verdict": DataVerdict(row["verdict"]), "findings": findings})


def _emit(tx: Connection, workspace: Workspace, kind: EventType, batch: Batch) -> None:
    details: JsonObject = {
        "batch": batch.key,
        "rows": batch.rows,
        "version": batch.version,
        "verdict": batch.verdict.value,
        "because": "; ".join(finding.message for finding in batch.findings[:5]),
    }
    event = workspace.event(
        kind, f"/datasets/{batch.dataset}", batch.dataset, details, id=f"{kind}-{batch.key}"
    )
    ledger.append(tx, event)
