"""The review queue: clusters of questions that need a writer, most frequent first."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

import sqlalchemy as sa

from core.database import reading
from widget.review.reviews import State
from widget.review.rights import closed, open_to
from widget.review.tables import (
    CONCERN,
    KINDS,
    STORED_COLUMNS,
    GapKind,
    cluster_table,
    clustered,
    current_review,
    member_table,
    with_votes,
)
from widget.review.wiki import ReviewIndex
from widget.service import store
from widget.service.store import (
    IS_UNSURE,
    StoredQuestion,
    question_table,
    stored_question,
    vote_table,
)
from wiki.rights import Reader

PAGE = 50  # clusters on a page of the queue
SHOWN = 200  # questions on the page of a cluster
AGAIN = timedelta(minutes=5)
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Wanted:
    """Filters for clusters."""

    state: State | Literal["all"] = "open"
    kind: GapKind | Literal["all"] = "all"
    channel: str = ""
    alias: str = ""
    words: str = ""
    """Text that a question must contain verbatim."""


class Turn(NamedTuple):
    """A question of a reader, and how the answer was received."""

    id: str
    conversation: str
    visitor: str
    at: datetime
    question: str
    received: int
    """0: refused, failed or voted down; 1: low confidence; 2: answered; 3: voted up."""


@dataclass(frozen=True)
class Item:
    """A cluster in the queue."""

    cluster: int
    question: str
    """The writer's wording, or else the readers' most frequent."""
    asked: int
    down: int
    refused: int
    unsure: int
    unsupported: int
    """Answers with a marked claim."""
    last: datetime
    state: State


class Queue:
    """Clusters that need a review."""

    def __init__(self, engine: sa.Engine, wiki: ReviewIndex) -> None:
        self._engine = engine
        self._wiki = wiki

    def items(self, wanted: Wanted, reader: Reader, start: int = 0) -> tuple[list[Item], int]:
        """At most PAGE clusters from offset `start`, and their total number.

        Raises Unreachable.
        """
        q = question_table.c
        state = sa.func.coalesce(current_review.c.state, "open")
        conditions = [CONCERN if wanted.kind == "all" else KINDS[wanted.kind]]
        if wanted.state != "all":
            conditions.append(state == wanted.state)
        if wanted.channel:
            conditions.append(q.channel == wanted.channel)
        if wanted.alias:
            conditions.append(q.alias == wanted.alias)
        if wanted.words:
            conditions.append(q.question.icontains(wanted.words, autoescape=True))
        question_count = sa.func.count()
        query = (
            sa.select(
                member_table.c.cluster,
                question_count.label("asked"),
                *(_count(KINDS[kind]).label(kind) for kind in get_args(GapKind)),
                sa.func.max(q.at).label("last"),
                state.label("state"),
                sa.func.coalesce(current_review.c.question, "").label("question"),
                sa.func.count().over().label("clusters"),
            )
            .select_from(_with_reviews)
            .where(*conditions)
            .group_by(member_table.c.cluster, state, current_review.c.question)
            .order_by(question_count.desc(), sa.desc("last"), member_table.c.cluster)
            .limit(PAGE)
            .offset(start)
        )
        with reading(self._engine) as connection:
            query = query.where(open_to(connection, reader, self._wiki))
            rows = connection.execute(query).mappings().all()
            usual = usual_questions(connection, [row["cluster"] for row in rows])
        items = [
            Item(
                question=row["question"] or usual.get(row["cluster"], ""),
                **{name: row[name] for name in Item.__dataclass_fields__ if name != "question"},
            )
            for row in rows
        ]
        return items, rows[0]["clusters"] if rows else 0

    def counts(self, reader: Reader) -> Mapping[str, int]:
        """Number of clusters in each state. Raises Unreachable."""
        state = sa.func.coalesce(current_review.c.state, "open")
        query = (
            sa.select(state, sa.func.count(member_table.c.cluster.distinct()))
            .select_from(_with_reviews)
            .where(CONCERN)
            .group_by(state)
        )
        with reading(self._engine) as connection:
            query = query.where(open_to(connection, reader, self._wiki))
            by_state = {str(state): int(count) for state, count in connection.execute(query)}
        return {state: by_state.get(state, 0) for state in STATES}

    def may_open(self, cluster: int, reader: Reader) -> bool:
        """Does the cluster exist, and may the reader see it? Raises Unreachable."""
        c = cluster_table.c
        query = sa.select(c.id).where(c.id == cluster)
        with reading(self._engine) as connection:
            if reader.groups is not None:
                query = query.where(c.id.not_in(closed(connection, reader, self._wiki)))
            return connection.execute(query).first() is not None

    def choices(self) -> dict[str, list[str]]:
        """All channels and aliases of questions. Raises Unreachable."""
        with reading(self._engine) as connection:
            return {
                name: sorted(
                    connection.execute(sa.select(question_table.c[name]).distinct()).scalars()
                )
                for name in ("channel", "alias")
            }

    def questions(self, cluster: int) -> tuple[list[StoredQuestion], int]:
        """The questions of a cluster, newest first, at most SHOWN, and their total number.

        Raises Unreachable.
        """
        query = (
            sa.select(*STORED_COLUMNS)
            .select_from(clustered)
            .where(member_table.c.cluster == cluster)
        )
        count = sa.select(sa.func.count()).where(member_table.c.cluster == cluster)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(question_table.c.at.desc()).limit(SHOWN))
            stored = [stored_question(row._mapping) for row in rows]
            return stored, connection.execute(count).scalar_one()

    def asked_again(self, questions: Sequence[StoredQuestion], reader: Reader) -> dict[str, str]:
        """The question that follows within AGAIN in the conversation of each of these, by id.

        Raises Unreachable.
        """
        conversations = {question.asked.conversation for question in questions}
        here = question_table.c.conversation.in_(conversations)
        with reading(self._engine) as connection:
            again = following(turns(connection, reader, here), lambda turn: turn.conversation)
        ids = [question.asked.id for question in questions]
        return {id: again[id].question for id in ids if id in again}

    def usual_question(self, cluster: int) -> str:
        """The readers' most frequent wording; empty without stored questions. Raises
        Unreachable."""
        with reading(self._engine) as connection:
            return usual_questions(connection, [cluster]).get(cluster, "")


def turns(
    connection: sa.Connection,
    reader: Reader,
    *conditions: sa.ColumnElement[bool],
    most: int | None = None,
) -> list[Turn]:
    """The latest questions that the reader may see, oldest first."""
    q = question_table.c
    vote = sa.func.coalesce(vote_table.c.vote, "")
    is_bad = sa.or_(q.state != "answered", vote == "down")
    received = sa.case((is_bad, 0), (vote == "up", 3), (IS_UNSURE, 1), else_=2)
    query = (
        sa.select(q.id, q.conversation, q.visitor, q.at, q.question, received)
        .select_from(with_votes)
        .where(store.open_to(connection, reader), *conditions)
        .order_by(q.at.desc(), q.id.desc())
        .limit(most)
    )
    return [Turn(*row) for row in connection.execute(query)][::-1]


def following(turns: Sequence[Turn], of: Callable[[Turn], str]) -> dict[str, Turn]:
    """The next question of the same reader or conversation, see `of`, within AGAIN, by id.

    Readers who were not helped often ask again in other words.
    """
    latest: dict[str, Turn] = {}
    again = {}
    for turn in turns:
        earlier = latest.get(of(turn))
        if earlier is not None and turn.at <= earlier.at + AGAIN:
            again[earlier.id] = turn
        latest[of(turn)] = turn
    return again


def usual_questions(connection: sa.Connection, clusters: Sequence[int]) -> dict[int, str]:
    """The most frequent wording of each cluster's question, the shortest of equals."""
    q, m = question_table.c, member_table.c
    query = (
        sa.select(m.cluster, q.question, sa.func.count())
        .join_from(member_table, question_table)
        .where(m.cluster.in_(clusters))
        .group_by(m.cluster, q.question)
    )
    by_cluster: dict[int, Counter[str]] = {}
    for cluster, question, count in connection.execute(query):
        by_cluster.setdefault(cluster, Counter())[question] = count
    return {
        cluster: min(counts, key=lambda text: (-counts[text], len(text), text))
        for cluster, counts in by_cluster.items()
    }


def closest_pages(questions: Sequence[StoredQuestion], most: int = 3) -> list[dict[str, str]]:
    """Title and url of the pages that these questions' answers cited or came closest to."""
    cited: Counter[str] = Counter()
    titles: dict[str, str] = {}
    for question in questions:
        outcome: dict[str, Any] = question.answered.outcome
        for page in {
            page.get("url", "").partition("#")[0]: page
            for page in (*outcome.get("sources", ()), *outcome.get("pages", ()))
        }.values():
            url = page.get("url", "").partition("#")[0]
            cited[url] += 1
            titles.setdefault(url, page.get("title", ""))
    return [{"url": url, "title": titles[url] or url} for url, _ in cited.most_common(most) if url]


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


_with_reviews = clustered.outerjoin(
    current_review, current_review.c.cluster == member_table.c.cluster
)
