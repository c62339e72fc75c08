"""Counters that accumulate in memory and are written to a table every few seconds.

Requests do not wait for a database. While it is unavailable, the numbers are kept; a kill -9 loses
the last seconds.
"""

import asyncio
import logging
from typing import Any

import sqlalchemy as sa

from gateway.core import threads
from gateway.storage.database import Unreachable, adding, writing
from gateway.telemetry.names import storable

log = logging.getLogger("askdocs.gateway")


class Counters:
    """Numbers that one worker adds to the rows of a table, by primary key."""

    def __init__(self, engine: sa.Engine, table: sa.Table, number: str, interval: float) -> None:
        """`number` is the column to increase, `interval` the seconds between writes."""
        self._engine = engine
        self._table = table
        self._number = number
        self._interval = interval
        self._key = [column.name for column in table.primary_key]
        self._added: dict[tuple[Any, ...], float] = {}

    def add(self, key: tuple[Any, ...], number: float = 1) -> None:
        self._added[key] = self._added.get(key, 0) + number

    async def write(self, key: tuple[Any, ...], number: float = 1) -> None:
        """Like `add`, but the number is in the database on return. Raises Unreachable."""
        await threads.database(self._write, {key: number})

    async def run(self) -> None:
        """Write every few seconds until cancelled, and a last time then."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                await asyncio.shield(self.flush())
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write the numbers added so far."""
        added, self._added = self._added, {}
        if not added:
            return
        try:
            await threads.database(self._write, added)
        except Unreachable as error:
            log.warning("%s stays in memory for now: %s", self._table.name, error)
            for key, number in added.items():
                self.add(key, number)

    def _write(self, added: dict[tuple[Any, ...], float]) -> None:
        # A name that cannot be stored must not block the others.
        clean: dict[tuple[Any, ...], float] = {}
        for key, number in added.items():
            stored = tuple(storable(part) if isinstance(part, str) else part for part in key)
            clean[stored] = clean.get(stored, 0) + number
        # The same order in every worker, to prevent deadlocks.
        rows = [
            {**dict(zip(self._key, key, strict=True)), self._number: number}
            for key, number in sorted(clean.items())
        ]
        with writing(self._engine) as connection:
            connection.execute(adding(connection, self._table, [self._number]), rows)
