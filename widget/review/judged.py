"""Judgements on answers: readers' votes and reviewers' corrections."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from core.database import reading
from widget.review.reviews import Reviews, cleaned
from widget.review.rows import LONGEST, PRIVATE, closed_clusters
from widget.review.tables import member_table, with_votes
from widget.review.wiki import ReviewIndex
from widget.service.store import for_everybody, question_table, vote_table
from wiki.rights import PUBLIC


class Judged(NamedTuple):
    """An answer that a reader voted on, or that a writer wrote or replaced."""

    cluster: int | None
    question: str
    answer: str
    """Empty: a refusal, actual or intended."""
    page: str
    """Source page of a writer's answer."""
    is_good: bool


def judged(engine: sa.Engine, wiki: ReviewIndex, since: datetime | None = None) -> Iterator[Judged]:
    """Public answers by question, a writer's first.

    Leaves out questions that may contain private data, and a writer's answer in a cluster with
    non-public answers, like `rows.pull`. Raises Unreachable.
    """
    q, v = question_table.c, vote_table.c
    closed = closed_clusters(engine)
    approved = {
        review.cluster: review.draft
        for review in Reviews(engine).approved()
        if review.cluster not in closed and not wiki.closed([review.draft.page], PUBLIC)
    }
    query = (
        sa.select(q.question, q.answer, q.state, v.vote, member_table.c.cluster)
        .select_from(with_votes.outerjoin(member_table, member_table.c.question == q.id))
        .where(for_everybody(), q.state.in_(("answered", "refused")))
        .where(*([] if since is None else [q.at >= since]))
        .order_by(q.at, q.id)
    )
    with reading(engine) as connection:
        for text, answer, state, vote, cluster in connection.execute(query):
            question = cleaned(text)
            if PRIVATE.search(question) or len(question) > LONGEST or not question:
                continue
            draft = approved.get(cluster)
            answered = answer if state == "answered" else ""
            if draft:
                written = draft.answer if draft.answerable else ""
                yield Judged(cluster, question, written, draft.page, True)
                # A reader's upvote says that a different answer is good, too.
                if answered != written and vote != "up":
                    yield Judged(cluster, question, answered, "", False)
            elif vote in ("up", "down"):
                yield Judged(cluster, question, answered, "", vote == "up")
