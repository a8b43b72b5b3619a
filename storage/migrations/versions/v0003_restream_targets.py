"""Where streams are pushed on to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table. A key there is of use only as it is, so it is kept as it is."""
    op.create_table(
        "restream_targets",
        sa.Column("stream", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("codecs", sa.Text, nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Forget the targets; everything else stays."""
    op.drop_table("restream_targets")
