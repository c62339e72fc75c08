"""Page popularity: how often answers cite each page, across all workers and restarts.

An answer counts half after HALF_LIFE. Nothing is ever multiplied down for that: an answer of today
is written with a weight that is as much larger as all older ones should have become smaller
(forward decay, Cormode et al. 2009, https://doi.org/10.1109/ICDE.2009.65). So the order of pages is
the order of plain sums, which any number of workers may add to.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from gateway.core import threads
from gateway.storage.database import Unreachable, metadata, reading
from gateway.telemetry.counters import Counters

log = logging.getLogger("askdocs.gateway")

INTERVAL = 5.0  # seconds between two writes
HALF_LIFE = timedelta(days=7)
# Weights count half-lives from here. A double holds 1,023 of them: until the year 2045.
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

heat_table = sa.Table(
    "page_heat",
    metadata,
    sa.Column("url", sa.Text, primary_key=True),
    sa.Column("heat", sa.Double, nullable=False),
    sa.Index("page_heat_heat", "heat"),
)


class PagePopularity(Counters):
    """The heat that one worker adds, and that of all workers to read."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine, heat_table, "heat", INTERVAL)

    def stood_on(self, urls: Iterable[str], at: datetime | None = None) -> None:
        """Count an answer that stood on the pages of these addresses. It was given now, or `at`."""
        weight = 2 ** (((at or datetime.now(UTC)) - BEGINNING) / HALF_LIFE)
        for url in dict.fromkeys(urls):
            self.add((url,), weight)

    async def hottest(self, limit: int) -> list[str]:
        """The addresses of the `limit` hottest pages, hottest first; none with the database away.

        What this worker has added is in it.
        """
        await self.flush()
        try:
            return await threads.database(self._hottest, limit)
        except Unreachable as error:
            log.warning("which pages are hot is not known: %s", error)
            return []

    def _hottest(self, limit: int) -> list[str]:
        c = heat_table.c
        query = sa.select(c.url).order_by(c.heat.desc(), c.url).limit(limit)
        with reading(self._engine) as connection:
            return list(connection.scalars(query))
