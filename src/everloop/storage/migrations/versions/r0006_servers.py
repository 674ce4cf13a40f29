"""What a server has put into effect is a row of its own: an endpoint may have several servers."""

import sqlalchemy as sa
from alembic import op

from everloop.storage.schema import UtcTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Servers that run during an upgrade are of the old version: nobody's report has to be kept."""
    op.create_table(
        "server_reports",
        sa.Column("server", sa.String(length=36), nullable=False),
        sa.Column("endpoint", sa.String(length=100), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("reported_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("server", "endpoint", name="pk_server_reports"),
    )
    with op.batch_alter_table("endpoints") as table:
        table.drop_column("observed")
