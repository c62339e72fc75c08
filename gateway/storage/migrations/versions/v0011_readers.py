"""The permissions required to read the pages behind a stored answer."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("questions", sa.Column("readers", sa.Text))
