"""Counters that accumulate in memory and are written to a table every few seconds.

Requests do not wait for a database. While it is unavailable, the numbers are kept. A worker writes
a last time when it stops; a kill -9 loses what was counted since the last write.
"""

import asyncio
import logging
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from core import threads
from core.database import Unreachable, adding, writing
from gateway.telemetry.names import storable

log = logging.getLogger("askdocs.gateway")

Counts = dict[tuple[Any, ...], list[float]]
"""Numbers by the primary key of their row."""


class Counters:
    """Numbers that one worker adds to the rows of a table, by primary key."""

    def __init__(self, engine: sa.Engine, table: sa.Table, *columns: str, interval: float) -> None:
        """`columns` are the numbers to increase, `interval` the seconds between writes."""
        self._engine = engine
        self._table = table
        self._columns = columns
        self._interval = interval
        self._key = [column.name for column in table.primary_key]
        self._added: Counts = {}
        self._writing: Counts = {}
        self._turn = asyncio.Lock()  # held by a write
        self._failing = False
        self.failures = 0
        """Failed writes to the database; their content is part of the next write."""

    def add(self, key: tuple[Any, ...], *numbers: float) -> None:
        """Add one number for each column."""
        counts = self._added.get(key)
        if counts is None:
            self._added[key] = [*numbers]
        else:
            for place, number in enumerate(numbers):
                counts[place] += number

    async def write(self, key: tuple[Any, ...], *numbers: float) -> None:
        """Like `add`, but the numbers are in the database on return. Raises Unreachable."""
        await threads.database(self._write, {key: [*numbers]})

    async def run(self) -> None:
        """Write every few seconds until cancelled, and a last time then."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                await asyncio.shield(self.flush())
        finally:
            await self.flush()
            if lost := len(list(self._pending())):
                log.error(
                    "%s: %d rows are lost, the database is unavailable", self._table.name, lost
                )

    async def flush(self) -> None:
        """Write the numbers added so far. On failure, they are kept for the next flush."""
        async with self._turn:
            for _ in range(2):  # earlier failures, then new numbers
                if not self._writing:
                    self._writing, self._added = self._added, {}
                if not self._writing or not await self._flush():
                    return

    def _pending(self) -> Iterator[tuple[tuple[Any, ...], list[float]]]:
        """The numbers that are not in the database yet."""
        yield from self._writing.items()
        yield from self._added.items()

    async def _flush(self) -> bool:
        """Returns whether the write succeeded."""
        name = self._table.name
        try:
            await threads.database(self._write, self._writing)
        except Unreachable as error:
            if not self._failing:
                log.warning("%s waits until the database is back: %s", name, error)
            self._failing = True
            self.failures += 1
            return False
        if self._failing:
            log.warning("the database is back: %s is written again", name)
        self._failing = False
        written, self._writing = self._writing, {}
        self._wrote(written)
        return True

    def _wrote(self, written: Counts) -> None:
        """Called after each write."""

    def _write(self, added: Counts) -> None:
        # A name that cannot be stored must not block the others.
        clean: Counts = {}
        for key, numbers in added.items():
            stored = tuple(storable(part) if isinstance(part, str) else part for part in key)
            counts = clean.get(stored, [0] * len(numbers))
            clean[stored] = [sum(pair) for pair in zip(counts, numbers, strict=True)]
        # The same order in every worker, to prevent deadlocks.
        rows = [
            dict(zip((*self._key, *self._columns), (*key, *numbers), strict=True))
            for key, numbers in sorted(clean.items())
        ]
        with writing(self._engine) as connection:
            connection.execute(adding(connection, self._table, self._columns), rows)


@lru_cache(maxsize=2)
def day_of(number: int) -> date:
    """The date by days since 1970, UTC: three calendar calls per request would cost 3 us."""
    return date(1970, 1, 1) + timedelta(days=number)
