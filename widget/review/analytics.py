"""Counts questions and their outcomes by day, page, channel and alias."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from core.database import reading
from widget.review import weeks
from widget.review.tables import with_votes
from widget.service.store import open_to, question_table, vote_table
from wiki.rights import Reader

PAGES = 50  # pages to show, the most asked ones


@dataclass
class Counts:
    """Questions and their outcomes. Answers stopped by readers count only as asked."""

    asked: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    up: int = 0
    down: int = 0
    wrong: int = 0
    """Answered, but voted down or with a sentence that the pages contradict."""

    @property
    def right(self) -> int:
        """Answers not known to be wrong."""
        return self.answered - self.wrong

    @property
    def rate(self) -> float | None:
        """`right` as a share of all questions that were answered, refused or failed."""
        ended = self.answered + self.refused + self.failed
        return self.right / ended if ended else None

    def add(self, other: "Counts") -> None:
        """Add other counts to these."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class AnswerTimes:
    """Median and 95th percentile of the seconds to a complete answer; None without answers."""

    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True)
class Analytics:
    """The days from `first` to `last`, inclusive."""

    first: date
    last: date
    total: Counts = field(default_factory=Counts)
    times: AnswerTimes = field(default_factory=AnswerTimes)
    days: dict[str, Counts] = field(default_factory=dict)
    """By day, including days without questions."""
    day_times: dict[str, AnswerTimes] = field(default_factory=dict)
    pages: dict[str, Counts] = field(default_factory=dict)
    """By the URL of the reader's page, most asked first; at most PAGES."""
    channels: dict[str, Counts] = field(default_factory=dict)
    aliases: dict[str, Counts] = field(default_factory=dict)


def measure(engine: sa.Engine, first: date, last: date, reader: Reader) -> Analytics:
    """Raises Unreachable."""
    q = question_table.c
    day = _day(engine)
    span = (q.at >= weeks.begin(first), q.at < weeks.begin(last + timedelta(days=1)))
    with reading(engine) as connection:
        within = (*span, open_to(connection, reader))
    analytics = Analytics(first, last)
    for number in range((last - first).days + 1):
        analytics.days[(first + timedelta(days=number)).isoformat()] = Counts()
    counts = [_sum(condition) for condition in _CONDITIONS]
    groups = sa.select(day, q.channel, q.alias, sa.func.count(), *counts)
    groups = groups.select_from(with_votes).where(*within).group_by(day, q.channel, q.alias)
    pages = sa.select(q.page, sa.func.count(), *counts).select_from(with_votes)
    pages = pages.where(*within, q.page != "").group_by(q.page)
    pages = pages.order_by(sa.func.count().desc(), q.page).limit(PAGES)
    took = sa.select(day, q.duration).where(*within, q.state.in_(("answered", "refused")))
    with reading(engine) as connection:
        for when, channel, alias, *numbers in connection.execute(groups):
            for counted in (
                analytics.total,
                analytics.days[when],
                analytics.channels.setdefault(channel, Counts()),
                analytics.aliases.setdefault(alias, Counts()),
            ):
                counted.add(Counts(*numbers))
        for page, *numbers in connection.execute(pages):
            analytics.pages[page] = Counts(*numbers)
        seconds: defaultdict[str, list[float]] = defaultdict(list)
        for when, duration in connection.execute(took.where(q.duration.is_not(None))):
            seconds[when].append(duration)
    everything = [duration for durations in seconds.values() for duration in durations]
    day_times = {when: _times(seconds.get(when, ())) for when in analytics.days}
    return replace(analytics, times=_times(everything), day_times=day_times)


def facts(analytics: Analytics) -> dict[str, Any]:
    """The same data for JSON."""
    groups = ("days", "pages", "channels", "aliases")
    return {
        "first": analytics.first.isoformat(),
        "last": analytics.last.isoformat(),
        "total": {**_facts(analytics.total), "seconds": asdict(analytics.times)},
        **{
            group: {name: _facts(counts) for name, counts in getattr(analytics, group).items()}
            for group in groups
        },
        "day_seconds": {day: asdict(times) for day, times in analytics.day_times.items()},
    }


def _facts(counts: Counts) -> dict[str, Any]:
    return {**asdict(counts), "rate": counts.rate}


def _times(seconds: Iterable[float]) -> AnswerTimes:
    values = np.fromiter(seconds, np.float64)
    if not len(values):
        return AnswerTimes()
    p50, p95 = np.percentile(values, (50, 95))
    return AnswerTimes(float(p50), float(p95))


def _day(engine: sa.Engine) -> sa.ColumnElement[str]:
    """A question's day in UTC, as text."""
    at = question_table.c.at
    if engine.dialect.name == "sqlite":
        return sa.func.substr(at, 1, 10, type_=sa.Text)
    return sa.func.to_char(sa.func.timezone("UTC", at), "YYYY-MM-DD", type_=sa.Text)


def _sum(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


_CONDITIONS = (
    *(question_table.c.state == state for state in ("answered", "refused", "failed")),
    *(vote_table.c.vote == vote for vote in ("up", "down")),
    sa.and_(
        question_table.c.state == "answered",
        sa.or_(
            vote_table.c.vote == "down",
            question_table.c.verdict == "contradicted",
        ),
    ),
)
