"""The access history of each page, for `askdocs docs show --readers`.

A gateway records changes of rights: by a sync, by new rules, or by new and deleted pages.
"""

import asyncio
import logging
from collections.abc import Callable, Set
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from core import threads
from core.database import LOCK, Unreachable, Utc, metadata, reading, writing
from wiki.rights import EVERY, Groups, Right, load

log = logging.getLogger("askdocs.gateway")

INTERVAL = 5.0  # seconds between checks
RETENTION = timedelta(days=400)  # after a right's end
MOST = 1_000_000  # rights that have ended
_PART = 1_000  # rows per statement
readers_table = sa.Table(
    "page_readers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("url", sa.Text, nullable=False, index=True),
    sa.Column("groups", sa.Text, nullable=False),
    sa.Column("since", Utc, nullable=False),
    sa.Column("until", Utc, index=True),
)
_c = readers_table.c


class Period(NamedTuple):
    """A period with the groups that could read a page."""

    groups: Groups
    since: datetime
    until: datetime | None
    """None: they still can."""
    every: bool
    """Did it apply to all pages, as none had groups?"""


class PastReaders:
    """Records the rights of one gateway's readers."""

    def __init__(
        self, engine: sa.Engine, revision: Callable[[], str], rights: Callable[[], Set[Right]]
    ) -> None:
        """`revision` changes with `rights`, and is cheaper to compute."""
        self._engine = engine
        self._revision = revision
        self._rights = rights

    async def run(self) -> None:
        """Record until cancelled. Retries while the database is unavailable."""
        recorded = None
        while True:
            revision = await threads.search(self._revision)
            if revision != recorded:
                rights = await threads.search(self._rights)
                try:
                    await threads.database(record, self._engine, rights)
                    recorded = revision
                except Unreachable as error:
                    log.warning("who may read which page is recorded later: %s", error)
            await asyncio.sleep(INTERVAL)


def record(engine: sa.Engine, rights: Set[Right], now: datetime | None = None) -> None:
    """Record the changes since the last call; gateways take turns.

    Raises Unreachable.
    """
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK + 1)))
        now = now or datetime.now(UTC)  # after the wait, or periods could end before they begin
        rows = connection.execute(sa.select(_c.url, _c.groups, _c.id).where(_c.until.is_(None)))
        noted = {(url, groups): number for url, groups, number in rows}
        ended = sorted(noted[right] for right in noted.keys() - rights)
        for start in range(0, len(ended), _PART):
            some = _c.id.in_(ended[start : start + _PART])
            connection.execute(sa.update(readers_table).where(some).values(until=now))
        begun = sorted(rights - noted.keys())
        if begun:
            fresh = [{"url": url, "groups": groups, "since": now} for url, groups in begun]
            connection.execute(sa.insert(readers_table), fresh)
        ends = sa.select(_c.until).where(_c.until.is_not(None)).order_by(_c.until.desc())
        last = connection.execute(ends.offset(MOST).limit(1)).scalar()
        before = max(now - RETENTION, last) if last else now - RETENTION
        connection.execute(sa.delete(readers_table).where(_c.until <= before))


def has_groups(engine: sa.Engine) -> bool:
    """Does any page have groups, according to the last record? Raises Unreachable."""
    query = sa.select(_c.id).where(_c.until.is_(None), _c.url != EVERY).limit(1)
    with reading(engine) as connection:
        return connection.execute(query).first() is not None


def of(engine: sa.Engine, url: str) -> list[Period]:
    """The access history of a page, newest first. Raises Unreachable."""
    query = sa.select(_c.groups, _c.since, _c.until, _c.url).where(_c.url.in_((url, EVERY)))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(_c.since.desc(), _c.id.desc()))
        return [
            Period(load(groups) or (), since, until, at == EVERY)
            for groups, since, until, at in rows
        ]
