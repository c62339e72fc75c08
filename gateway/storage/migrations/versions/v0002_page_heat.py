"""Page popularity: how often answers cited each page."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "page_heat",
        sa.Column("url", sa.Text, primary_key=True),
        sa.Column("heat", sa.Double, nullable=False),
    )
    op.create_index("page_heat_heat", "page_heat", ["heat"])
