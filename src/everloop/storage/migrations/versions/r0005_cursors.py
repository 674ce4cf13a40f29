"""How far each reader of the ledger has come, and indexes for what is asked at every look."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the cursors, which begin at the start of the ledger, and change indexes."""
    op.create_table(
        "cursors",
        sa.Column("reader", sa.String(length=300), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reader", name="pk_cursors"),
    )
    op.create_index("ix_events_type_subject_seq", "events", ["type", "subject", "seq"], unique=False)
    op.create_index("ix_runs_requested_at", "runs", ["requested_at", "id"], unique=False)
    op.drop_index("ix_runs_state", table_name="runs")
    op.create_index(
        "ix_runs_state_pipeline", "runs", ["state", "pipeline", "register", "requested_at", "id"], unique=False
    )
    op.create_index("ix_rollouts_endpoint_state", "rollouts", ["endpoint", "state"], unique=False)
    op.drop_index("ix_firings_pipeline_time", table_name="firings")
    op.create_index("ix_firings_decision_pipeline", "firings", ["decision", "pipeline"], unique=False)
