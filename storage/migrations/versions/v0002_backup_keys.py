"""A second key for each stream: that of the encoder that stands by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INDEX = "uq_streams_backup_key_digest"


def upgrade() -> None:
    """Add the column; an index keeps its values apart, for SQLite adds no unique column."""
    op.add_column("streams", sa.Column("backup_key_digest", sa.String(64), nullable=True))
    op.create_index(_INDEX, "streams", ["backup_key_digest"], unique=True)


def downgrade() -> None:
    """Forget the backup keys; everything else stays."""
    op.drop_index(_INDEX, table_name="streams")
    op.drop_column("streams", "backup_key_digest")
