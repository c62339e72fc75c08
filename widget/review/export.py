"""Exports all questions and feedback of readers for other programs."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.database import reading
from widget.review.tables import member_table, with_votes
from widget.service.store import question_table, vote_table

# Excludes the asker: both the person and the visitor's pseudonym.
COLUMNS = (
    *("id", "at", "channel", "alias", "team", "lang", "page", "question", "quote", "state"),
    *("answer", "model", "confidence", "first_token", "duration", "vote", "reasons", "comment"),
    "cluster",
)


def count(engine: sa.Engine, since: datetime | None = None) -> int:
    """Number of questions. Raises Unreachable."""
    query = sa.select(sa.func.count()).select_from(question_table).where(*_since(since))
    with reading(engine) as connection:
        return int(connection.execute(query).scalar_one())


def everything(engine: sa.Engine, since: datetime | None = None) -> Iterator[dict[str, Any]]:
    """The questions with their answers and votes, oldest first. Raises Unreachable."""
    q, v = question_table.c, vote_table.c
    columns = {**dict(q.items()), "vote": v.vote, "reasons": v.reasons, "comment": v.text}
    columns["cluster"] = member_table.c.cluster
    query = (
        sa.select(*(columns[name].label(name) for name in COLUMNS))
        .select_from(with_votes.outerjoin(member_table, member_table.c.question == q.id))
        .where(*_since(since))
        .order_by(q.at, q.id)
    )
    with reading(engine) as connection:
        for row in connection.execute(query).mappings():
            yield {**row, "at": row["at"].isoformat(), "reasons": row["reasons"] or []}


def _since(since: datetime | None) -> list[sa.ColumnElement[bool]]:
    return [] if since is None else [question_table.c.at >= since]
