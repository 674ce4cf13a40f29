"""Labels in the order in which they came, and what a look at a rollout has counted."""

import sqlalchemy as sa
from alembic import op

from everloop.storage.schema import JsonText

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Number the labels; make room for names of rollouts, and for what is counted of them."""
    _number_labels()
    # A rollout is called after its endpoint, its model and the version, which may be longer than was thought.
    with op.batch_alter_table("rollouts") as rollouts:
        rollouts.alter_column("id", type_=sa.String(length=300), existing_type=sa.String(length=36))
    with op.batch_alter_table("endpoints") as endpoints:
        endpoints.alter_column("salt", type_=sa.String(length=300), existing_type=sa.String(length=64))
    op.create_table(
        "rollout_evidence",
        sa.Column("rollout", sa.String(length=300), nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("log_seq", sa.BigInteger(), nullable=False),
        sa.Column("label_seq", sa.BigInteger(), nullable=False),
        sa.Column("evidence", JsonText, nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name="fk_rollout_evidence_rollout"),
        sa.PrimaryKeyConstraint("rollout", name="pk_rollout_evidence"),
    )
    op.create_table(
        "rollout_units",
        sa.Column("rollout", sa.String(length=300), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name="fk_rollout_units_rollout"),
        sa.PrimaryKeyConstraint("rollout", "unit", name="pk_rollout_units"),
    )
    op.create_table(
        "rollout_pairs",
        sa.Column("rollout", sa.String(length=300), nullable=False),
        sa.Column("prediction_id", sa.String(length=120), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("extra_loss", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name="fk_rollout_pairs_rollout"),
        sa.PrimaryKeyConstraint("rollout", "prediction_id", name="pk_rollout_pairs"),
    )


def _number_labels() -> None:
    """In the order in which they came; of those that came together any will do."""
    op.add_column("labels", sa.Column("seq", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE labels SET seq = numbered.place FROM ("
        "SELECT prediction_id, row_number() OVER (ORDER BY received_at, prediction_id) AS place FROM labels"
        ") AS numbered WHERE numbered.prediction_id = labels.prediction_id"
    )
    with op.batch_alter_table("labels") as altered:
        altered.alter_column("seq", existing_type=sa.BigInteger(), nullable=False)
    op.create_index("ix_labels_seq", "labels", ["seq"], unique=True)
