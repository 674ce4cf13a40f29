"""Every table, in one place; `migrations/` says how an older database becomes this one.

`info` names the room that owns a table: it alone reads and writes it, and whoever wants to know something asks that room.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
"""Every schema this code knows, oldest first; the last one is what it works with."""


class UtcTime(TypeDecorator[datetime]):
    """An aware time: native on PostgreSQL, a sortable ISO text of fixed width on SQLite."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type of this database."""
        return dialect.type_descriptor(
            DateTime(timezone=True) if dialect.name == "postgresql" else String(27)
        )

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """To the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        utc = value.astimezone(UTC)
        if dialect.name == "postgresql":
            return utc
        return f"{utc.isoformat(timespec='microseconds')[: -len('+00:00')]}Z"

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.astimezone(UTC) if isinstance(value, datetime) else datetime.fromisoformat(value)


class JsonText(TypeDecorator[Any]):
    """Plain values as JSON text; None is NULL.

    Not the databases' own types: PostgreSQL's JSONB has no NUL and turns 1e16 into an integer, and so does SQLite
    with a number in a column that it is told is JSON. What is kept here is read as it was.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else msgspec.json.encode(value, order="sorted").decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From the database."""
        return None if value is None else msgspec.json.decode(value)


BigId = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only for plain INTEGER keys

ThingName = String(250).with_variant(String(250, collation="C"), "postgresql")
"""How lineage names a thing, in the order of its letters, so that an index finds all whose names begin alike."""

tables = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

events = Table(
    "events",
    tables,
    Column("seq", BigId, primary_key=True, autoincrement=True),
    Column("id", String(600), nullable=False),
    Column("source", String(400), nullable=False),
    Column("type", String(100), nullable=False),
    Column("subject", String(300), nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("data", JsonText, nullable=False),
    UniqueConstraint("source", "id"),
    Index("ix_events_type_seq", "type", "seq"),
    Index("ix_events_type_subject_seq", "type", "subject", "seq"),
    sqlite_autoincrement=True,  # a number that was given out is never given out again
    info={"room": "storage"},
)

edges = Table(
    "edges",
    tables,
    Column("seq", BigId, primary_key=True, autoincrement=True),
    Column("source", ThingName, nullable=False),
    Column("target", ThingName, nullable=False),
    Column("how", Text, nullable=False),
    # Of the three: what makes the same edge one row. PostgreSQL has no key over a text of any length.
    Column("digest", String(64), nullable=False, unique=True),
    Index("ix_edges_source", "source"),
    Index("ix_edges_target", "target"),
    info={"room": "storage"},
)

# How far each reader of the ledger has come.
cursors = Table(
    "cursors",
    tables,
    Column("reader", String(300), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    info={"room": "storage"},
)

batches = Table(
    "batches",
    tables,
    Column("dataset", String(100), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("arrived_at", UtcTime, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("findings", JsonText, nullable=False),
    Column("version", Integer),
    Column("content", String(64)),
    Column("profile", String(64)),
    Column("total_rows", BigInteger, nullable=False, default=0),
    UniqueConstraint("dataset", "version"),
    info={"room": "data"},
)

schemas = Table(
    "schemas",
    tables,
    Column("dataset", String(100), primary_key=True),
    Column("schema", JsonText, nullable=False),
    Column("time", UtcTime, nullable=False),
    info={"room": "data"},
)

runs = Table(
    "runs",
    tables,
    Column("id", String(36), primary_key=True),
    Column("pipeline", String(100), nullable=False),
    Column("key", String(600), nullable=False, unique=True),
    Column("state", String(10), nullable=False),
    Column("trigger", String(100), nullable=False),
    Column("reason", Text, nullable=False),
    Column("who", String(200), nullable=False),
    Column("requested_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("seconds", Float),
    Column("worker", String(36)),
    Column("epoch", Integer, nullable=False, default=0),
    Column("resumed", Integer, nullable=False, default=0),
    Column("code", JsonText),
    Column("environment", String(64)),
    Column("error", Text),
    Column("register", Boolean, nullable=False, server_default=true()),
    Index("ix_runs_requested_at", "requested_at", "id"),
    Index("ix_runs_pipeline_requested_at", "pipeline", "requested_at"),
    Index("ix_runs_state_pipeline", "state", "pipeline", "register", "requested_at", "id"),
    info={"room": "metadata"},
)

params = Table(
    "params",
    tables,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("value", JsonText),
    info={"room": "metadata"},
)

run_datasets = Table(
    "run_datasets",
    tables,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("dataset", String(100), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Index("ix_run_datasets_dataset_version", "dataset", "version"),
    info={"room": "metadata"},
)

# Versions that a run was asked to read, before it has read anything.
run_pins = Table(
    "run_pins",
    tables,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("dataset", String(100), primary_key=True),
    Column("version", Integer, nullable=False),
    info={"room": "metadata"},
)

run_models = Table(
    "run_models",
    tables,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("model", String(100), primary_key=True),
    Column("alias", String(20), primary_key=True),
    Column("version", Integer),
    Column("digest", String(64)),
    info={"room": "metadata"},
)

environments = Table(
    "environments",
    tables,
    Column("digest", String(64), primary_key=True),
    Column("python", String(20), nullable=False),
    Column("platform", String(200), nullable=False),
    Column("libraries", JsonText, nullable=False),
    info={"room": "metadata"},
)

steps = Table(
    "steps",
    tables,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("step", String(100), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("cache_key", String(64), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("seconds", Float),
    Column("cached_from", String(36)),
    Column("error", Text),
    Index("ix_steps_cache_key", "cache_key"),
    info={"room": "metadata"},
)

artifacts = Table(
    "artifacts",
    tables,
    Column("digest", String(64), primary_key=True),
    Column("format", String(50), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    info={"room": "metadata"},
)

step_artifacts = Table(
    "step_artifacts",
    tables,
    Column("run_id", String(36), primary_key=True),
    Column("step", String(100), primary_key=True),
    Column("direction", String(6), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("format", String(50), nullable=False),
    ForeignKeyConstraint(["run_id", "step"], ["steps.run_id", "steps.step"]),
    ForeignKeyConstraint(["digest", "format"], ["artifacts.digest", "artifacts.format"]),
    CheckConstraint("direction IN ('input', 'output')", name="direction"),
    Index("ix_step_artifacts_digest", "digest"),
    info={"room": "metadata"},
)

metrics = Table(
    "metrics",
    tables,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("step", String(100), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("value", Float),
    info={"room": "metadata"},
)

# Rows of `model_versions` and `alias_history` never change: triggers in the first migration refuse it.
model_versions = Table(
    "model_versions",
    tables,
    Column("model", String(100), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("flavor", String(50), nullable=False),
    Column("signature", JsonText, nullable=False),
    Column("gate", String(10), nullable=False),
    Column("verdict", JsonText),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("metrics", JsonText, nullable=False),
    Column("facts", JsonText, nullable=False),
    UniqueConstraint("model", "run_id"),
    UniqueConstraint("model", "version", "gate"),
    CheckConstraint("gate IN ('passed', 'refused', 'none')", name="gate"),
    info={"room": "registry"},
)

aliases = Table(
    "aliases",
    tables,
    Column("model", String(100), primary_key=True),
    Column("alias", String(20), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    # The database itself refuses an alias on a version whose gate has not passed, whoever asks.
    Column("gate", String(10), nullable=False, default="passed"),
    CheckConstraint("gate = 'passed'", name="gate"),
    CheckConstraint("alias IN ('champion', 'challenger')", name="alias"),
    ForeignKeyConstraint(
        ["model", "version", "gate"],
        ["model_versions.model", "model_versions.version", "model_versions.gate"],
    ),
    # Nor does an alias move without an entry in its history.
    ForeignKeyConstraint(
        ["model", "alias", "epoch", "version"],
        ["alias_history.model", "alias_history.alias", "alias_history.epoch", "alias_history.version"],
    ),
    info={"room": "registry"},
)

alias_history = Table(
    "alias_history",
    tables,
    Column("model", String(100), primary_key=True),
    Column("alias", String(20), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer),
    Column("previous", Integer),
    Column("who", String(200), nullable=False),
    Column("why", Text, nullable=False),
    Column("time", UtcTime, nullable=False),
    UniqueConstraint("model", "alias", "epoch", "version"),
    info={"room": "registry"},
)

endpoints = Table(
    "endpoints",
    tables,
    Column("name", String(100), primary_key=True),
    Column("model", String(100), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("stable", Integer),
    Column("canary", Integer),
    Column("split", Integer, nullable=False),
    Column("salt", String(300), nullable=False),
    Column("shadow", Boolean, nullable=False),
    info={"room": "rollout"},
)

server_reports = Table(
    "server_reports",
    tables,
    Column("server", String(36), primary_key=True),
    Column("endpoint", String(100), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("reported_at", UtcTime, nullable=False),
    info={"room": "rollout"},
)

rollouts = Table(
    "rollouts",
    tables,
    Column("id", String(300), primary_key=True),
    Column("endpoint", String(100), nullable=False),
    Column("model", String(100), nullable=False),
    Column("stable", Integer),
    Column("canary", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("step", Integer, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("log_seq", BigInteger, nullable=False, server_default=text("0")),
    Column("step_started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("verdict", JsonText),
    Column("observed", JsonText, nullable=False),
    UniqueConstraint("endpoint", "model", "canary"),
    Index("ix_rollouts_endpoint_state", "endpoint", "state"),
    info={"room": "rollout"},
)

# What has been counted of a rollout that is under way, and how far the log and the labels have been read for it.
rollout_evidence = Table(
    "rollout_evidence",
    tables,
    Column("rollout", ForeignKey("rollouts.id"), primary_key=True),
    Column("judge", Text, nullable=False),
    Column("log_seq", BigInteger, nullable=False),
    Column("label_seq", BigInteger, nullable=False),
    Column("evidence", JsonText, nullable=False),
    info={"room": "rollout"},
)

rollout_units = Table(
    "rollout_units",
    tables,
    Column("rollout", ForeignKey("rollouts.id"), primary_key=True),
    Column("unit", String(200), primary_key=True),
    Column("failed", Boolean, nullable=False),
    info={"room": "rollout"},
)

rollout_pairs = Table(
    "rollout_pairs",
    tables,
    Column("rollout", ForeignKey("rollouts.id"), primary_key=True),
    Column("prediction_id", String(120), primary_key=True),
    Column("percent", Integer, nullable=False),
    Column("extra_loss", Float, nullable=False),
    info={"room": "rollout"},
)

predictions = Table(
    "predictions",
    tables,
    Column("seq", BigId, primary_key=True, autoincrement=True),
    Column("id", String(120), nullable=False),
    Column("arm", String(10), nullable=False),
    Column("request_id", String(200), nullable=False),
    Column("unit", String(200), nullable=False),
    Column("endpoint", String(100), nullable=False),
    Column("model", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("share", Integer, nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("arrived_at", UtcTime, nullable=False),
    Column("inputs", LargeBinary, nullable=False),
    Column("outputs", LargeBinary),
    Column("outcome", String(10), nullable=False),
    Column("error", Text),
    Column("seconds", Float, nullable=False),
    UniqueConstraint("id", "arm"),
    Index("ix_predictions_endpoint_time", "endpoint", "time"),
    sqlite_autoincrement=True,  # a reader that goes on from a number must not meet it again
    info={"room": "monitoring"},
)

labels = Table(
    "labels",
    tables,
    Column("prediction_id", String(120), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("value", JsonText, nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("corrections", Integer, nullable=False, default=0),
    Index("ix_labels_seq", "seq", unique=True),
    info={"room": "monitoring"},
)

windows = Table(
    "windows",
    tables,
    Column("monitor", String(100), primary_key=True),
    Column("end", UtcTime, primary_key=True),
    Column("start", UtcTime, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("result", JsonText, nullable=False),
    info={"room": "monitoring"},
)

firings = Table(
    "firings",
    tables,
    Column("trigger", String(100), primary_key=True),
    Column("key", String(400), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("pipeline", String(100), nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decision", String(20), nullable=False),
    Column("because", Text, nullable=False),
    Column("run_id", ForeignKey("runs.id")),
    Index("ix_firings_decision_pipeline", "decision", "pipeline"),
    info={"room": "loop"},
)
