"""Answers of any type, arrival beside the client's time, and runs that register nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sa
from alembic import op

from everloop.storage.schema import BigId, JsonText, UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_GROUP = 1_000
Row: TypeAlias = Mapping[str, Any]
_pack = msgspec.msgpack.Encoder().encode


def upgrade() -> None:
    """Rewrite the inference log and the labels; add what runs may be asked for."""
    _remake_predictions()
    _remake_labels()
    # Requests of a rollout that is under way stand anywhere in the log that was.
    op.add_column("rollouts", sa.Column("log_seq", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("runs", sa.Column("register", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_table(
        "run_pins",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("dataset", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_pins_run_id"),
        sa.PrimaryKeyConstraint("run_id", "dataset", name="pk_run_pins"),
    )


def _remake_predictions() -> None:
    old = _set_aside("predictions", indexes=("ix_predictions_endpoint_time",))
    op.create_table(
        "predictions",
        sa.Column("seq", BigId, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("arm", sa.String(length=10), nullable=False),
        sa.Column("request_id", sa.String(length=200), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("endpoint", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("arrived_at", UtcTime(), nullable=False),
        sa.Column("inputs", sa.LargeBinary(), nullable=False),
        sa.Column("outputs", sa.LargeBinary(), nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_predictions"),
        sa.UniqueConstraint("id", "arm", name="uq_predictions_id_arm"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_predictions_endpoint_time", "predictions", ["endpoint", "time"], unique=False)
    names = _output_names()
    # 0.1 knew no arrival. Ids were made in the order in which requests came (UUID version 7), and the time of the fact is
    # the only time there is.
    _copy(old, "predictions", "id, arm", lambda row: _prediction(row, names))


def _prediction(row: Row, names: Mapping[tuple[str, int], str]) -> Row:
    kept = {name: value for name, value in row.items() if name not in ("output", "status")}
    name = names.get((row["model"], row["version"]), "score")
    return kept | {
        "arrived_at": row["time"],
        "outputs": None if row["output"] is None else _pack({name: row["output"]}),
        "outcome": "failed" if row["status"] >= 500 else "answered",
    }


def _number(value: float) -> str:
    return msgspec.json.encode(value).decode()


def _output_names() -> dict[tuple[str, int], str]:
    """What each version calls its one output."""
    table = sa.table(
        "model_versions",
        sa.column("model", sa.String),
        sa.column("version", sa.Integer),
        sa.column("signature", JsonText),
    )
    rows = op.get_bind().execute(sa.select(table))
    return {(row.model, row.version): row.signature["outputs"][0]["name"] for row in rows}


def _remake_labels() -> None:
    old = _set_aside("labels")
    op.create_table(
        "labels",
        sa.Column("prediction_id", sa.String(length=120), nullable=False),
        sa.Column("value", JsonText, nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("corrections", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_labels"),
    )
    _copy(old, "labels", "prediction_id", lambda row: dict(row) | {"value": _number(row["value"])})


def _set_aside(name: str, *, indexes: Sequence[str] = ()) -> str:
    """Give a table another name, and free the names of its indexes and of its key; returns the name."""
    aside = f"{name}_0001"
    for index in indexes:
        op.drop_index(index, table_name=name)
    op.rename_table(name, aside)
    if op.get_bind().dialect.name == "postgresql":  # there a key is an index, whose name would be taken
        op.execute(f"ALTER INDEX pk_{name} RENAME TO pk_{aside}")
    return aside


def _copy(old: str, new: str, order: str, change: Callable[[Row], Row]) -> None:
    """Every row into the new table, in groups, so that a large log does not have to fit into memory."""
    bind = op.get_bind()
    source, target = (_table(name) for name in (old, new))
    query = sa.select(source).order_by(sa.text(order)).execution_options(stream_results=True)
    rows = bind.execute(query).mappings()
    while group := rows.fetchmany(_GROUP):
        bind.execute(target.insert(), [dict(change(row)) for row in group])
    op.drop_table(old)


def _table(name: str) -> sa.TableClause:
    """A table whose values pass as the driver has them: what is not changed here must stay as it is to the last bit."""
    columns = sa.inspect(op.get_bind()).get_columns(name)
    return sa.table(name, *(sa.column(column["name"]) for column in columns))
