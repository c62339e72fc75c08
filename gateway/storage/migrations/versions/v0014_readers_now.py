"""The current permissions of an answer's pages, and when they were last checked."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("questions", sa.Column("readers_now", sa.Text))
    op.add_column("questions", sa.Column("rights", sa.Text))
    op.create_index("ix_questions_rights", "questions", ["rights"])
