"""Lineage as rows: the edges between everything that is recorded already."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sa
from alembic import op

from everloop.storage.schema import BigId, ThingName

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_GROUP = 1_000
Row: TypeAlias = Mapping[str, Any]
Edge: TypeAlias = tuple[str, str, str]
"""Source, target, how."""


def upgrade() -> None:
    """Make the table, and write each edge that whoever made the thing would have written."""
    op.create_table(
        "edges",
        sa.Column("seq", BigId, autoincrement=True, nullable=False),
        sa.Column("source", ThingName, nullable=False),
        sa.Column("target", ThingName, nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_edges"),
        sa.UniqueConstraint("digest", name="uq_edges_digest"),
    )
    op.create_index("ix_edges_source", "edges", ["source"], unique=False)
    op.create_index("ix_edges_target", "edges", ["target"], unique=False)
    _connect("alias_history", "time, model, alias, epoch", _moved, where="version IS NOT NULL")
    _connect("batches", "dataset, version", _appended, where="version IS NOT NULL")
    _connect("run_datasets", "run_id, dataset", _dataset_read)
    _connect("run_models", "run_id, model, alias", _model_read, where="version IS NOT NULL")
    _connect("step_artifacts", "run_id, step, direction, position", _step)
    _connect("model_versions", "model, version", _registered)
    _connect("rollouts", "started_at, id", _rolled_out)
    _connect("endpoints", "name", _answers)


def _connect(
    table: str, order: str, edges_of: Callable[[Row], Iterator[Edge]], *, where: str = "1 = 1"
) -> None:
    """The edges of every row, in groups, so that a long history does not have to fit into memory."""
    bind = op.get_bind()
    columns = [sa.column(column["name"]) for column in sa.inspect(bind).get_columns(table)]
    query = sa.select(*columns).select_from(sa.table(table)).where(sa.text(where)).order_by(sa.text(order))
    rows = bind.execute(query.execution_options(stream_results=True)).mappings()
    write = sa.text(
        "INSERT INTO edges (source, target, how, digest) VALUES (:source, :target, :how, :digest) "
        "ON CONFLICT DO NOTHING"
    )
    while group := rows.fetchmany(_GROUP):
        if found := [_row(edge) for row in group for edge in edges_of(row)]:
            bind.execute(write, found)


def _row(edge: Edge) -> Row:
    digest = hashlib.sha256(msgspec.json.encode(edge)).hexdigest()
    return dict(zip(("source", "target", "how"), edge, strict=True)) | {"digest": digest}


def _appended(row: Row) -> Iterator[Edge]:
    yield f"batch {row['key']}", f"dataset {row['dataset']}@{row['version']}", "appended"


def _dataset_read(row: Row) -> Iterator[Edge]:
    yield f"dataset {row['dataset']}@{row['version']}", f"run {row['run_id']}", "read"


def _model_read(row: Row) -> Iterator[Edge]:
    yield f"model {row['model']}@{row['version']}", f"run {row['run_id']}", row["alias"]


def _step(row: Row) -> Iterator[Edge]:
    step, artifact = f"run {row['run_id']} {row['step']}", f"artifact {row['digest']}"
    if row["direction"] == "input":
        yield artifact, step, row["name"]
    else:
        yield step, artifact, f"{row['name']} ({row['format']})"


def _registered(row: Row) -> Iterator[Edge]:
    for source in (f"run {row['run_id']}", f"artifact {row['digest']}"):
        yield source, f"model {row['model']}@{row['version']}", "registered"


def _moved(row: Row) -> Iterator[Edge]:
    how = f"moved by {row['who']}: {row['why']}"
    yield f"model {row['model']}@{row['version']}", f"alias {row['alias']}", how


def _rolled_out(row: Row) -> Iterator[Edge]:
    # Who had nobody to be compared with, or was not to be, got all the traffic without having been canary.
    verdict = msgspec.json.decode(row["verdict"] or "{}")
    if row["stable"] is not None and verdict.get("name") != "all at once":
        yield from _at_endpoint(row["model"], row["canary"], row["endpoint"], "canary")
    if row["state"] == "promoted":
        yield from _at_endpoint(row["model"], row["canary"], row["endpoint"], "stable")


def _answers(row: Row) -> Iterator[Edge]:
    for how in ("stable", "canary"):
        if row[how] is not None:
            yield from _at_endpoint(row["model"], row[how], row["name"], how)


def _at_endpoint(model: str, version: int, endpoint: str, how: str) -> Iterator[Edge]:
    yield f"model {model}@{version}", f"endpoint {endpoint}", how
