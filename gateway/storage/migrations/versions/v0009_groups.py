"""Permissions: groups of pages and keys, and keys that may assert a person's groups."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("wiki_pages", sa.Column("groups", sa.Text))
    op.add_column("keys", sa.Column("groups", sa.JSON))
    op.add_column(
        "keys",
        sa.Column("for_people", sa.Boolean, nullable=False, server_default=sa.false()),
    )
