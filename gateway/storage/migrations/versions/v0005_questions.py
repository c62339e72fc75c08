"""Stored questions, their answers, and readers' feedback."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "questions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("quote", sa.Text, nullable=False),
        sa.Column("page", sa.Text, nullable=False),
        sa.Column("visitor", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("lang", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("outcome", sa.JSON, nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("first_token", sa.Float),
        sa.Column("duration", sa.Float),
        sa.Column("shared", sa.Text, unique=True),
    )
    for column in ("conversation", "at", "visitor"):
        op.create_index(f"ix_questions_{column}", "questions", [column])
    op.create_table(
        "votes",
        sa.Column(
            "question",
            sa.Text,
            sa.ForeignKey("questions.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("at", moment, nullable=False),
        sa.Column("vote", sa.Text, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("visitor", sa.Text, nullable=False),
    )
