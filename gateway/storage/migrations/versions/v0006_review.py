"""The review: clusters of questions, their answers in all versions, and sent digests."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "clusters",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", moment, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "members",
        sa.Column(
            "question",
            sa.Text,
            sa.ForeignKey("questions.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("cluster", sa.Integer, sa.ForeignKey("clusters.id"), nullable=False),
    )
    op.create_index("ix_members_cluster", "members", ["cluster"])
    op.create_table(
        "reviews",
        sa.Column("cluster", sa.Integer, sa.ForeignKey("clusters.id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("page", sa.Text, nullable=False),
        sa.Column("section", sa.Text, nullable=False),
        sa.Column("answerable", sa.Boolean, nullable=False),
        sa.Column("approved", sa.JSON, nullable=False),
    )
    op.create_table(
        "digests",
        sa.Column("week", sa.Date, primary_key=True),
        sa.Column("claimed", moment, nullable=False),
        sa.Column("sent", moment),
    )
    # Analytics read these columns of every question, but not the answers.
    measured = ["at", "channel", "alias", "state", "duration", "id"]
    op.create_index("ix_questions_measured", "questions", measured)
