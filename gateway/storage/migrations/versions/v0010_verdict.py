"""The worst verdict among an answer's claims, which can trigger a review."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("questions", sa.Column("verdict", sa.Text))
    outcome = sa.func.replace(sa.cast(sa.column("outcome"), sa.Text), " ", "")
    questions = sa.table("questions", sa.column("verdict"))
    for verdict in ("supported", "unsupported", "contradicted"):  # the worst one remains
        op.execute(
            questions.update()
            .where(outcome.like(f'%"verdict":"{verdict}"%'))
            .values(verdict=verdict)
        )
    # Analytics read it for every question.
    op.drop_index("ix_questions_measured", "questions")
    measured = ["at", "channel", "alias", "state", "verdict", "duration", "id"]
    op.create_index("ix_questions_measured", "questions", measured)
