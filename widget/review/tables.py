"""The review's tables (`v0001_first.py`), and the reasons to review a question.

A cluster is only a vector: the wordings are in `questions` alone, so that forgetting a visitor also
forgets them here. `reviews` is append-only: the last version is current, the others are the
history.
"""

from typing import Literal

import sqlalchemy as sa

from core.database import Utc, metadata
from widget.service.store import IS_UNSURE, question_table, vote_table

GapKind = Literal["down", "refused", "unsure", "unsupported"]
"""Why a writer should look: voted down, refused, low confidence, or a claim that the pages do not
support or contradict."""

cluster_table = sa.Table(
    "clusters",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,  # otherwise the id of a deleted cluster would be reused
)
member_table = sa.Table(
    "members",
    metadata,
    sa.Column("question", sa.ForeignKey(question_table.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("cluster", sa.ForeignKey(cluster_table.c.id), nullable=False, index=True),
)
review_table = sa.Table(
    "reviews",
    metadata,
    sa.Column("cluster", sa.ForeignKey(cluster_table.c.id), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Utc, nullable=False),
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
digest_table = sa.Table(
    "digests",
    metadata,
    sa.Column("week", sa.Date, primary_key=True),
    sa.Column("claimed", Utc, nullable=False),
    sa.Column("sent", Utc),
)

# Analytics read these columns of every question without the answers: a third of the time.
sa.Index(
    "ix_questions_measured",
    *(
        question_table.c[name]
        for name in ("at", "channel", "alias", "state", "verdict", "duration", "id")
    ),
)

_vote = sa.func.coalesce(vote_table.c.vote, "")
KINDS: dict[GapKind, sa.ColumnElement[bool]] = {
    "down": _vote == "down",
    "refused": question_table.c.state == "refused",
    # A reader who upvoted an answer was sure enough of it.
    "unsure": sa.and_(
        question_table.c.state == "answered",
        IS_UNSURE,
        _vote != "up",
    ),
    "unsupported": sa.and_(
        question_table.c.state == "answered",
        question_table.c.verdict.in_(("unsupported", "contradicted")),
        _vote != "up",
    ),
}
CONCERN = sa.or_(*KINDS.values())
# A wrong answer needs a correction; missing content is a gap of the wiki.
GAP = sa.or_(
    KINDS["refused"],
    KINDS["unsure"],
    sa.and_(KINDS["down"], sa.cast(vote_table.c.reasons, sa.Text).like('%"incomplete"%')),
)

with_votes = question_table.outerjoin(vote_table)
STORED_COLUMNS = [*question_table.c, *(vote_table.c[name] for name in ("vote", "reasons", "text"))]
"""The columns that `widget.service.store.stored_question` reads."""
clustered = member_table.join(question_table).outerjoin(
    vote_table, vote_table.c.question == question_table.c.id
)
last_version = (
    sa.select(review_table.c.cluster, sa.func.max(review_table.c.version).label("version"))
    .group_by(review_table.c.cluster)
    .subquery("last_version")
)
"""The current version of each review."""
current_review = (
    sa.select(review_table)
    .join(
        last_version,
        (last_version.c.cluster == review_table.c.cluster)
        & (last_version.c.version == review_table.c.version),
    )
    .subquery("current_review")
)
