"""Counters that accumulate in memory and are written to a table every few seconds.

A request waits for no database. With the database away the numbers are kept for the next time; a
kill -9 loses what was added in the last seconds.
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
    """The numbers that one worker adds to the rows of a table, by the values of its key."""

    def __init__(self, engine: sa.Engine, table: sa.Table, number: str, interval: float) -> None:
        """`number` is the column that grows, `interval` seconds between two writes."""
        self._engine = engine
        self._table = table
        self._number = number
        self._interval = interval
        self._key = [column.name for column in table.primary_key]
        self._added: dict[tuple[Any, ...], float] = {}

    def add(self, key: tuple[Any, ...], number: float = 1) -> None:
        self._added[key] = self._added.get(key, 0) + number

    async def write(self, key: tuple[Any, ...], number: float = 1) -> None:
        """As `add`, and it is in the database when this returns. Raises Unreachable."""
        await threads.database(self._write, {key: number})

    async def run(self) -> None:
        """Write every few seconds until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                await asyncio.shield(self.flush())
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what was added."""
        added, self._added = self._added, {}
        if not added:
            return
        try:
            await threads.database(self._write, added)
        except Unreachable as error:
            log.warning("%s is kept in memory: %s", self._table.name, error)
            for key, number in added.items():
                self.add(key, number)

    def _write(self, added: dict[tuple[Any, ...], float]) -> None:
        # One name that cannot be stored must not keep the rest from it.
        clean: dict[tuple[Any, ...], float] = {}
        for key, number in added.items():
            stored = tuple(storable(part) if isinstance(part, str) else part for part in key)
            clean[stored] = clean.get(stored, 0) + number
        # In one order in every worker, so that no two wait for each other in a circle.
        rows = [
            {**dict(zip(self._key, key, strict=True)), self._number: number}
            for key, number in sorted(clean.items())
        ]
        with writing(self._engine) as connection:
            connection.execute(adding(connection, self._table, [self._number]), rows)
