"""Page popularity: how often answers cite each page, across all workers and restarts.

An answer's weight halves every HALF_LIFE. Stored weights are never reduced; instead, a new answer
is stored with a weight that is larger by as much as older ones should have decreased (forward
decay, Cormode et al. 2009, https://doi.org/10.1109/ICDE.2009.65). So pages are ordered by plain
sums, to which any number of workers may add.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from core import threads
from core.database import Unreachable, metadata, reading
from gateway.telemetry.counters import Counters

log = logging.getLogger("askdocs.gateway")

INTERVAL = 5.0  # seconds between writes
HALF_LIFE = timedelta(days=7)
# Half-lives are counted from here. A double's exponent allows 1,023 of them: until the year 2045.
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

heat_table = sa.Table(
    "page_heat",
    metadata,
    sa.Column("url", sa.Text, primary_key=True),
    sa.Column("heat", sa.Double, nullable=False),
    sa.Index("page_heat_heat", "heat"),
)


class PagePopularity(Counters):
    """The popularity counts: adds those of one worker, and reads those of all."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine, heat_table, "heat", interval=INTERVAL)

    def stood_on(self, urls: Iterable[str], at: datetime | None = None) -> None:
        """Count an answer that used the pages at these addresses, now or `at` a time."""
        weight = 2 ** (((at or datetime.now(UTC)) - BEGINNING) / HALF_LIFE)
        for url in dict.fromkeys(urls):
            self.add((url,), weight)

    async def hottest(self, limit: int) -> list[str]:
        """The addresses of the `limit` most popular pages, in order; empty without the database.

        Includes the counts that this worker has added.
        """
        await self.flush()
        try:
            return await threads.database(self._hottest, limit)
        except Unreachable as error:
            log.warning("cannot read page popularity: %s", error)
            return []

    def _hottest(self, limit: int) -> list[str]:
        c = heat_table.c
        query = sa.select(c.url).order_by(c.heat.desc(), c.url).limit(limit)
        with reading(self._engine) as connection:
            return list(connection.scalars(query))
