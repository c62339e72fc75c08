"""Clusters questions with the same meaning, so that a writer answers once.

A question joins the cluster whose first question is nearest in meaning, or starts a new one. So
clusters are never renumbered, and never grow from neighbour to neighbour into a topic.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from core import audit
from core.database import reading, writing
from widget.review.tables import (
    CONCERN,
    cluster_table,
    member_table,
    review_table,
    with_votes,
)
from widget.review.wiki import shared_embedder
from widget.service.store import Unknown, question_table
from wiki.index import embed
from wiki.pages.words import stems, words

Vectors = npt.NDArray[np.float32]

# Minimum cosine of two questions with the same meaning. In 2,189 titles of Thunderbird's forum,
# pairs from .9 have the same answer ("forgot primary password", "Reset primary password"); from .88
# they include "IMAP to POP3" and "imap vs pop3", from .86 "Can't send message" and "Cannot receive
# messages", from .8 how to import and how to export. The memory of answers uses the same value.
SAME = 0.9
# Questions embedded between two transactions: a second of work, after which a stopping widget can
# stop.
BATCH = 100
# Any number that nothing else in the same database uses as a lock.
LOCK = 4_708_159_227
BY_WORDS = "words/1"

Progress = Callable[[int, int], None]


class Sorter:
    """Assigns questions to clusters. Several processes may do so in parallel."""

    def __init__(
        self, engine: sa.Engine, load: Callable[[], embed.Embedder | None] = shared_embedder
    ) -> None:
        """`load` returns the embedder; without it, questions with the same words are the same."""
        self._engine = engine
        self._load = load
        self._ids: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._vectors: Vectors = np.zeros((0, embed.SIZE), np.float32)

    @cached_property
    def _embedder(self) -> embed.Embedder | None:
        return self._load()

    @property
    def _model(self) -> str:
        return self._embedder.model if self._embedder else BY_WORDS

    def sort(self, progress: Progress = lambda done, total: None) -> int:
        """Assign every new question of concern to a cluster; returns their number.

        Calls `progress(done, total)`. Raises Unreachable.
        """
        waiting = (
            sa.select(question_table.c.id, question_table.c.question)
            .select_from(with_votes.outerjoin(member_table, _is_member))
            .where(member_table.c.question.is_(None), CONCERN)
            .order_by(question_table.c.at)
        )
        with reading(self._engine) as connection:
            questions = [(str(id), str(text)) for id, text in connection.execute(waiting)]
        for start in range(0, len(questions), BATCH):
            progress(start, len(questions))
            self._assign(questions[start : start + BATCH])
        if questions:
            progress(len(questions), len(questions))
        self.tidy()
        return len(questions)

    def apart(self, question: str, cluster: int, who: str) -> int:
        """Move a question, and those in its cluster with the same words, to a new cluster.

        Returns the new cluster. Raises Unknown, Unreachable.
        """
        q, m = question_table.c, member_table.c
        of_one = sa.select(q.question).join_from(member_table, question_table)
        of_one = of_one.where(q.id == question, m.cluster == cluster)
        with reading(self._engine) as connection:
            text = connection.execute(of_one).scalar()
        if text is None:
            raise Unknown(f"no question {question[:80]!r} is in cluster {cluster} any more")
        vector = self._embed([text])[0]
        with self._alone() as connection:
            members = connection.execute(
                sa.select(q.id, q.question)
                .join_from(member_table, question_table)
                .where(m.cluster == cluster)
            )
            same = [id for id, other in members if words(other) == words(text)]
            made = self._make(connection, vector)
            connection.execute(
                member_table.update().where(m.question.in_(same)).values(cluster=made)
            )
            place = f"/review/{cluster}"
            audit.record(connection, "review.apart", place, who, to=made, questions=len(same))
        return made

    def tidy(self) -> None:
        """Delete clusters whose questions were all forgotten, unless a writer has worked on them.

        Raises Unreachable.
        """
        c = cluster_table.c
        used = [
            sa.exists().where(table.c.cluster == c.id) for table in (member_table, review_table)
        ]
        unused = sa.select(c.id).where(*(~use for use in used))
        with reading(self._engine) as connection:
            if connection.execute(unused.limit(1)).first() is None:
                return
        with writing(self._engine) as connection:
            connection.execute(cluster_table.delete().where(c.id.in_(unused)))

    def _assign(self, questions: Sequence[tuple[str, str]]) -> None:
        distinct = list(dict.fromkeys(text for _, text in questions))
        vectors = dict(zip(distinct, self._embed(distinct), strict=True))
        with self._alone() as connection:
            self._refresh(connection)
            clusters = {
                text: self._nearest(vector) or self._make(connection, vector)
                for text, vector in vectors.items()
            }
            ids = [id for id, _ in questions]
            # Meanwhile another process may have assigned them, or a visitor been forgotten.
            still = sa.select(question_table.c.id).select_from(
                question_table.outerjoin(member_table)
            )
            still = still.where(question_table.c.id.in_(ids), member_table.c.question.is_(None))
            there = set(connection.execute(still).scalars())
            rows = [
                {"question": id, "cluster": clusters[text]} for id, text in questions if id in there
            ]
            if rows:
                connection.execute(member_table.insert(), rows)

    @contextmanager
    def _alone(self) -> Iterator[sa.Connection]:
        """A transaction that excludes others from making clusters."""
        with writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            yield connection

    def _embed(self, texts: Sequence[str]) -> Vectors:
        if self._embedder:
            return self._embedder.embed(texts)
        vectors = np.zeros((len(texts), embed.SIZE), np.float32)
        for row, text in enumerate(texts):
            for word in stems(text) or words(text) or [text]:
                vectors[row, zlib.crc32(word.encode()) % embed.SIZE] += 1
        return embed.unit(vectors)

    def _refresh(self, connection: sa.Connection) -> None:
        """Load the current clusters."""
        c = cluster_table.c
        ids = connection.execute(sa.select(c.id).where(c.model == self._model)).scalars().all()
        mask = np.isin(self._ids, ids)
        self._ids, self._vectors = self._ids[mask], self._vectors[mask]
        # Ids are never reused, so new clusters have higher ids.
        last = int(self._ids.max(initial=0))
        new = sa.select(c.id, c.vector).where(c.model == self._model, c.id > last)
        rows = connection.execute(new)
        self._add([(id, np.frombuffer(vector, np.float16)) for id, vector in rows])

    def _nearest(self, vector: Vectors) -> int | None:
        if not len(self._ids):
            return None
        similarity = self._vectors @ vector
        best = int(similarity.argmax())
        return int(self._ids[best]) if similarity[best] >= SAME else None

    def _make(self, connection: sa.Connection, vector: Vectors) -> int:
        half = vector.astype(np.float16)
        row = {"at": datetime.now(UTC), "model": self._model, "vector": half.tobytes()}
        insert = cluster_table.insert().values(row).returning(cluster_table.c.id)
        made = int(connection.execute(insert).scalar_one())
        self._add([(made, half)])
        return made

    def _add(self, clusters: Sequence[tuple[int, npt.NDArray[np.float16]]]) -> None:
        if clusters:
            ids, vectors = zip(*clusters, strict=True)
            self._ids = np.append(self._ids, ids)
            self._vectors = np.vstack([self._vectors, np.array(vectors, np.float32)])


_is_member = member_table.c.question == question_table.c.id
