"""Finds gaps of the wiki by week: clusters refused, answered unsurely, or voted incomplete."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from core.database import reading
from widget.review import csv_export, weeks
from widget.review.queue import closest_pages, usual_questions
from widget.review.rights import open_to
from widget.review.tables import (
    GAP,
    STORED_COLUMNS,
    clustered,
    current_review,
    member_table,
    with_votes,
)
from widget.review.wiki import ReviewIndex
from widget.service.store import question_table, stored_question
from wiki.rights import Reader

MOST = 100  # gaps to show, the most asked ones
LOOKED_AT = 5  # latest questions of a gap used to find the closest pages


@dataclass(frozen=True)
class Gap:
    """A cluster that the wiki does not answer."""

    cluster: int
    question: str
    asked: int
    """Questions in all weeks."""
    weeks: tuple[int, ...]
    """Questions in each week, oldest first."""
    pages: tuple[dict[str, str], ...]
    """Title and url of the closest pages."""
    state: str
    """State of its review."""

    @property
    def trend(self) -> int:
        """Change from the week before the last to the last week."""
        return self.weeks[-1] - (self.weeks[-2] if len(self.weeks) > 1 else 0)


@dataclass(frozen=True)
class Gaps:
    """The gaps of some weeks, most asked first, without those that a writer dismissed."""

    first_days: tuple[date, ...]
    """The first day of each week, oldest first."""
    gaps: tuple[Gap, ...]
    """At most MOST."""
    count: int
    """Total number of gaps."""
    asked: int
    """Questions in all gaps."""


def find(engine: sa.Engine, last: date, count: int, reader: Reader, wiki: ReviewIndex) -> Gaps:
    """The gaps of `count` weeks up to the week that begins at `last`. Raises Unreachable."""
    q, m = question_table.c, member_table.c
    first_days = tuple(last - number * weeks.WEEK for number in range(count))[::-1]
    state = sa.func.coalesce(current_review.c.state, "open")
    with_reviews = clustered.outerjoin(current_review, current_review.c.cluster == m.cluster)
    query = (
        sa.select(m.cluster, q.id, q.at, state.label("state"), current_review.c.question)
        .select_from(with_reviews)
        .where(
            GAP,
            state != "dismissed",
            q.at >= weeks.begin(first_days[0]),
            q.at < weeks.begin(last + weeks.WEEK),
        )
        .order_by(q.at.desc())
    )
    by_week: defaultdict[int, Counter[date]] = defaultdict(Counter)
    latest: defaultdict[int, list[str]] = defaultdict(list)
    reviewed: dict[int, tuple[str, str]] = {}
    with reading(engine) as connection:
        query = query.where(open_to(connection, reader, wiki))
        for cluster, id, at, its_state, question in connection.execute(query):
            by_week[cluster][weeks.monday(at.date())] += 1
            reviewed[cluster] = its_state, question or ""
            if len(latest[cluster]) < LOOKED_AT:
                latest[cluster].append(id)
        chosen = sorted(by_week, key=lambda number: (-by_week[number].total(), number))[:MOST]
        usual = usual_questions(connection, chosen)
        ids = [id for cluster in chosen for id in latest[cluster]]
        looked_at = sa.select(*STORED_COLUMNS).select_from(with_votes).where(q.id.in_(ids))
        rows = connection.execute(looked_at)
        stored = {row.id: stored_question(row._mapping) for row in rows}
    gaps = tuple(
        Gap(
            cluster=cluster,
            question=reviewed[cluster][1] or usual.get(cluster, ""),
            asked=by_week[cluster].total(),
            weeks=tuple(by_week[cluster][day] for day in first_days),
            pages=tuple(closest_pages([stored[id] for id in latest[cluster] if id in stored])),
            state=reviewed[cluster][0],
        )
        for cluster in chosen
    )
    total = sum(counts.total() for counts in by_week.values())
    return Gaps(first_days, gaps, len(by_week), total)


def sheet_of(weekly_gaps: Gaps) -> str:
    """The gaps as CSV."""
    head = ["question", "asked", *map(weeks.name, weekly_gaps.first_days), "closest pages", "state"]
    rows = (
        [
            gap.question,
            gap.asked,
            *gap.weeks,
            " ".join(page["url"] for page in gap.pages),
            gap.state,
        ]
        for gap in weekly_gaps.gaps
    )
    return csv_export.write(head, rows)
