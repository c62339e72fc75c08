"""The audit log, and the oldest askdocs version compatible with this schema."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    # A later migration that is incompatible with older versions writes its own revision here.
    reach = op.create_table("schema_reach", sa.Column("oldest", sa.String(32), nullable=False))
    op.bulk_insert(reach, [{"oldest": "0006"}])
