"""Exports approved answers as rows of a `qa_pairs.jsonl` that passes `askdocs dataset check`."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.database import reading
from widget.review.reviews import Draft, Review, Reviews, cleaned
from widget.review.tables import member_table
from widget.review.wiki import ReviewIndex
from widget.service.store import for_everybody, question_table
from wiki.pages.words import words
from wiki.rights import PUBLIC

SOURCE = "askdocs-review"
CLOSED = "uses restricted pages; a model would reveal them to everybody"
LONGEST = 400  # maximum characters of a reader's question; longer ones are logs and letters
# Readers paste addresses, keys and links; a writer's own words are not checked.
PRIVATE = re.compile(
    r"@|://|\S{40,}|(?=\S*[0-9])(?=\S*[A-Za-z])[\w+/=.-]{16,}"
    r"|(passwor[dt]|passphrase|pwd|secret|token|api[ _-]?key)\W*[:=]\s*\S",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class LeftOut:
    """A row that is not exported."""

    cluster: int
    question: str
    why: str


def pull(
    engine: sa.Engine, wiki: ReviewIndex, since: datetime | None = None
) -> Iterator[dict[str, Any] | LeftOut]:
    """The rows by cluster: the writer's question first, then the readers' wordings.

    `since` limits them to later approvals. Raises Unreachable, AskdocsError: the index of `wiki` is
    damaged.
    """
    # Two answers to one question would be a contradiction: the first cluster keeps its answer.
    answered: dict[str, int] = {}
    closed = closed_clusters(engine)
    for review in Reviews(engine).approved(since):
        draft = review.draft
        if review.cluster in closed or wiki.closed([draft.page], PUBLIC):
            yield LeftOut(review.cluster, draft.question, CLOSED)
            continue
        key = _plain(draft.question)
        if first := answered.get(key):
            why = f"cluster {first} has an answer to the same question: dismiss one of the two"
            yield LeftOut(review.cluster, draft.question, why)
            continue
        answered[key] = review.cluster
        yield _row(review, draft.question, "")
        for id, text in _questions_of(engine, review.cluster):
            if PRIVATE.search(text) or len(text) > LONGEST or not words(text):
                yield LeftOut(
                    review.cluster, text, "may be private, or is not a self-contained question"
                )
            elif (key := _plain(text)) not in answered:
                answered[key] = review.cluster
                yield _row(review, text, f"-{id}")


def closed_clusters(engine: sa.Engine) -> set[int]:
    """Clusters with a non-public answer."""
    query = (
        sa.select(member_table.c.cluster)
        .join_from(member_table, question_table)
        .where(~for_everybody())
    )
    with reading(engine) as connection:
        return set(connection.execute(query.distinct()).scalars())


def _row(review: Review, question: str, suffix: str) -> dict[str, Any]:
    return {
        "id": f"review-{review.cluster}{suffix}",
        "question": question,
        **_facts(review.draft),
        "cluster": f"review-{review.cluster}",
        "source": SOURCE,
        "validated_by": ", ".join(review.approved),
    }


def _facts(draft: Draft) -> dict[str, Any]:
    """The source of the answer; an unanswerable question has none."""
    if not draft.answerable:
        return {"answer": "", "answerable": False}
    section = {"section": draft.section} if draft.section else {}
    return {
        "answer": draft.answer,
        "context_doc": draft.page,
        **section,
        "answerable": True,
    }


def _questions_of(engine: sa.Engine, cluster: int) -> list[tuple[str, str]]:
    """The questions of a cluster, oldest first."""
    q = question_table.c
    query = (
        sa.select(q.id, q.question)
        .join_from(member_table, question_table)
        .where(member_table.c.cluster == cluster)
        .order_by(q.at, q.id)
    )
    with reading(engine) as connection:
        return [(str(id), cleaned(text)) for id, text in connection.execute(query)]


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()
