"""Runs that register nothing, and runs that read what they were asked to read."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what runs may be asked for."""
    op.add_column("runs", sa.Column("register", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_table(
        "run_pins",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("dataset", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_pins_run_id"),
        sa.PrimaryKeyConstraint("run_id", "dataset", name="pk_run_pins"),
    )
