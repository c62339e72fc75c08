"""Pages shown to each key, by day."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "pages_shown",
        sa.Column("url", sa.Text, primary_key=True),
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("times", sa.BigInteger, nullable=False),
    )
