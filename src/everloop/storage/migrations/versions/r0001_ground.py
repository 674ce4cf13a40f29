"""The ground: datasets, runs, models, endpoints, predictions, triggers, and the ledger."""

import sqlalchemy as sa
from alembic import op

from everloop.storage.schema import BigId, JsonText, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "alias_history",
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("alias", sa.String(length=20), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("model", "alias", "epoch", name="pk_alias_history"),
        sa.UniqueConstraint(
            "model", "alias", "epoch", "version", name="uq_alias_history_model_alias_epoch_version"
        ),
    )
    op.create_table(
        "artifacts",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("format", sa.String(length=50), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "format", name="pk_artifacts"),
    )
    op.create_table(
        "batches",
        sa.Column("dataset", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("arrived_at", UtcTime(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("findings", JsonText, nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("content", sa.String(length=64), nullable=True),
        sa.Column("profile", sa.String(length=64), nullable=True),
        sa.Column("total_rows", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "key", name="pk_batches"),
        sa.UniqueConstraint("dataset", "version", name="uq_batches_dataset_version"),
    )
    op.create_table(
        "endpoints",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("stable", sa.Integer(), nullable=True),
        sa.Column("canary", sa.Integer(), nullable=True),
        sa.Column("split", sa.Integer(), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("shadow", sa.Boolean(), nullable=False),
        sa.Column("observed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_endpoints"),
    )
    op.create_table(
        "environments",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("python", sa.String(length=20), nullable=False),
        sa.Column("platform", sa.String(length=200), nullable=False),
        sa.Column("libraries", JsonText, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_environments"),
    )
    op.create_table(
        "events",
        sa.Column("seq", BigId, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=600), nullable=False),
        sa.Column("source", sa.String(length=400), nullable=False),
        sa.Column("type", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("data", JsonText, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sa.UniqueConstraint("source", "id", name="uq_events_source_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_type_seq", "events", ["type", "seq"], unique=False)
    op.create_table(
        "labels",
        sa.Column("prediction_id", sa.String(length=120), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("corrections", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_labels"),
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("arm", sa.String(length=10), nullable=False),
        sa.Column("request_id", sa.String(length=200), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("endpoint", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("inputs", sa.LargeBinary(), nullable=False),
        sa.Column("output", sa.Float(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", "arm", name="pk_predictions"),
    )
    op.create_index("ix_predictions_endpoint_time", "predictions", ["endpoint", "time"], unique=False)
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("endpoint", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("stable", sa.Integer(), nullable=True),
        sa.Column("canary", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("step_started_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("verdict", JsonText, nullable=True),
        sa.Column("observed", JsonText, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
        sa.UniqueConstraint("endpoint", "model", "canary", name="uq_rollouts_endpoint_model_canary"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("pipeline", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=600), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("trigger", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("requested_at", UtcTime(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("worker", sa.String(length=36), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("resumed", sa.Integer(), nullable=False),
        sa.Column("code", JsonText, nullable=True),
        sa.Column("environment", sa.String(length=64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("key", name="uq_runs_key"),
    )
    op.create_index("ix_runs_pipeline_requested_at", "runs", ["pipeline", "requested_at"], unique=False)
    op.create_index("ix_runs_state", "runs", ["state"], unique=False)
    op.create_table(
        "schemas",
        sa.Column("dataset", sa.String(length=100), nullable=False),
        sa.Column("schema", JsonText, nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", name="pk_schemas"),
    )
    op.create_table(
        "windows",
        sa.Column("monitor", sa.String(length=100), nullable=False),
        sa.Column("end", UtcTime(), nullable=False),
        sa.Column("start", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("result", JsonText, nullable=False),
        sa.PrimaryKeyConstraint("monitor", "end", name="pk_windows"),
    )
    op.create_table(
        "firings",
        sa.Column("trigger", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=400), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("pipeline", sa.String(length=100), nullable=False),
        sa.Column("time", UtcTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_firings_run_id"),
        sa.PrimaryKeyConstraint("trigger", "key", name="pk_firings"),
    )
    op.create_index("ix_firings_pipeline_time", "firings", ["pipeline", "time"], unique=False)
    op.create_table(
        "metrics",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_metrics_run_id"),
        sa.PrimaryKeyConstraint("run_id", "step", "name", name="pk_metrics"),
    )
    op.create_table(
        "model_versions",
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("flavor", sa.String(length=50), nullable=False),
        sa.Column("signature", JsonText, nullable=False),
        sa.Column("gate", sa.String(length=10), nullable=False),
        sa.Column("verdict", JsonText, nullable=True),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("metrics", JsonText, nullable=False),
        sa.Column("facts", JsonText, nullable=False),
        sa.CheckConstraint("gate IN ('passed', 'refused', 'none')", name="ck_model_versions_gate"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_model_versions_run_id"),
        sa.PrimaryKeyConstraint("model", "version", name="pk_model_versions"),
        sa.UniqueConstraint("model", "run_id", name="uq_model_versions_model_run_id"),
        sa.UniqueConstraint("model", "version", "gate", name="uq_model_versions_model_version_gate"),
    )
    op.create_table(
        "params",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", JsonText, nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_params_run_id"),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_params"),
    )
    op.create_table(
        "run_datasets",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("dataset", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_datasets_run_id"),
        sa.PrimaryKeyConstraint("run_id", "dataset", name="pk_run_datasets"),
    )
    op.create_index("ix_run_datasets_dataset_version", "run_datasets", ["dataset", "version"], unique=False)
    op.create_table(
        "run_models",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("alias", sa.String(length=20), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_models_run_id"),
        sa.PrimaryKeyConstraint("run_id", "model", "alias", name="pk_run_models"),
    )
    op.create_table(
        "steps",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("cache_key", sa.String(length=64), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("cached_from", sa.String(length=36), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_steps_run_id"),
        sa.PrimaryKeyConstraint("run_id", "step", name="pk_steps"),
    )
    op.create_index("ix_steps_cache_key", "steps", ["cache_key"], unique=False)
    op.create_table(
        "aliases",
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("alias", sa.String(length=20), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("gate", sa.String(length=10), nullable=False),
        sa.CheckConstraint("alias IN ('champion', 'challenger')", name="ck_aliases_alias"),
        sa.CheckConstraint("gate = 'passed'", name="ck_aliases_gate"),
        sa.ForeignKeyConstraint(
            ["model", "version", "gate"],
            ["model_versions.model", "model_versions.version", "model_versions.gate"],
            name="fk_aliases_model_version_gate",
        ),
        sa.ForeignKeyConstraint(
            ["model", "alias", "epoch", "version"],
            ["alias_history.model", "alias_history.alias", "alias_history.epoch", "alias_history.version"],
            name="fk_aliases_model_alias_epoch_version",
        ),
        sa.PrimaryKeyConstraint("model", "alias", name="pk_aliases"),
    )
    op.create_table(
        "step_artifacts",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.Column("direction", sa.String(length=6), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("format", sa.String(length=50), nullable=False),
        sa.CheckConstraint("direction IN ('input', 'output')", name="ck_step_artifacts_direction"),
        sa.ForeignKeyConstraint(
            ["digest", "format"],
            ["artifacts.digest", "artifacts.format"],
            name="fk_step_artifacts_digest_format",
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "step"], ["steps.run_id", "steps.step"], name="fk_step_artifacts_run_id_step"
        ),
        sa.PrimaryKeyConstraint("run_id", "step", "direction", "name", name="pk_step_artifacts"),
    )
    op.create_index("ix_step_artifacts_digest", "step_artifacts", ["digest"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        _freeze_on_postgres()
    else:
        _freeze_on_sqlite()


_FROZEN = {"model_versions": ("model", "version"), "alias_history": ("model", "alias", "epoch")}
"""Tables whose rows never change, whoever asks, with their keys."""


def _freeze_on_sqlite() -> None:
    for table, key in _FROZEN.items():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} never change'); END"
        op.execute(f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} {refuse}")
        # INSERT OR REPLACE deletes without asking the trigger above.
        same = " AND ".join(f"{column} = NEW.{column}" for column in key)
        known = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})"
        op.execute(f"CREATE TRIGGER {table}_replace BEFORE INSERT ON {table} {known} {refuse}")
    # The foreign key says the same, and other programs that open the file may not heed it.
    passed = "SELECT 1 FROM model_versions WHERE model = NEW.model AND version = NEW.version AND gate = 'passed'"
    refuse = "BEGIN SELECT RAISE(ABORT, 'this version has passed no gate'); END"
    for change in ("INSERT", "UPDATE"):
        op.execute(
            f"CREATE TRIGGER aliases_{change.lower()} BEFORE {change} ON aliases WHEN NOT EXISTS ({passed}) {refuse}"
        )


def _freeze_on_postgres() -> None:
    op.execute(
        "CREATE FUNCTION everloop_never_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '% never change', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; "
        "END $$"
    )
    for table in _FROZEN:
        for event, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER {table}_{each.lower()} BEFORE {event} ON {table} "
                f"FOR EACH {each} EXECUTE FUNCTION everloop_never_change()"
            )
