"""Which pages answers stand on: the hot ones, counted in all workers and across restarts.

An answer counts half after HALF_LIFE. Nothing is ever multiplied down for that: an answer of today
is written with a weight that is as much larger as all older ones should have become smaller
(forward decay, Cormode et al. 2009, https://doi.org/10.1109/ICDE.2009.65). So the order of pages is
the order of plain sums, which any number of workers may add to.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from gateway import threads
from gateway.database import Unreachable, adding, metadata, reading, writing
from gateway.telemetry.names import storable

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


class Heat:
    """The heat that one worker adds, and that of all workers to read."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._added: dict[str, float] = {}

    def stood_on(self, urls: Iterable[str], at: datetime | None = None) -> None:
        """Count an answer that stood on the pages of these addresses. It was given now, or `at`."""
        weight = 2 ** (((at or datetime.now(UTC)) - BEGINNING) / HALF_LIFE)
        self._add(dict.fromkeys(map(storable, urls), weight))

    async def run(self) -> None:
        """Write every few seconds until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(INTERVAL)
                await asyncio.shield(self.flush())
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what was added. With the database away it is kept for the next time."""
        added, self._added = self._added, {}
        if not added:
            return
        try:
            await threads.database(self._write, added)
        except Unreachable as error:
            log.warning("which pages are hot is kept in memory: %s", error)
            self._add(added)

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

    def _add(self, added: Mapping[str, float]) -> None:
        for url, heat in added.items():
            self._added[url] = self._added.get(url, 0.0) + heat

    def _write(self, added: Mapping[str, float]) -> None:
        # In one order in every worker, so that no two wait for each other in a circle.
        rows = [{"url": url, "heat": heat} for url, heat in sorted(added.items())]
        with writing(self._engine) as connection:
            connection.execute(adding(connection, heat_table, ["heat"]), rows)

    def _hottest(self, limit: int) -> list[str]:
        c = heat_table.c
        query = sa.select(c.url).order_by(c.heat.desc(), c.url).limit(limit)
        with reading(self._engine) as connection:
            return list(connection.scalars(query))
