"""The calendar month (UTC), and the tokens that a key has already used in it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

log = logging.getLogger("askdocs.gateway")

GOOD_FOR = 600
"""Seconds after which a counter is read again from the database: this corrects the count after a
worker was killed, or counted alone while Redis was unavailable."""
RETRY = 10
"""Seconds until the next attempt after the database did not answer."""
PATIENCE = 2
"""Seconds that a request waits for the database."""


def now() -> datetime:
    return datetime.now(UTC)


def this_month() -> str:
    """The month, such as `2026-11`."""
    today = now()
    return f"{today.year}-{today.month:02}"


def renewal() -> datetime:
    """The start of the next month."""
    today = now()
    return datetime(today.year + today.month // 12, today.month % 12 + 1, 1, tzinfo=UTC)


class Used(NamedTuple):
    tokens: int
    good_for: int
    """Seconds."""


class Months:
    """Queries the database, once for all requests that wait for the same key's count."""

    def __init__(self, read: Callable[[str], Awaitable[int]]) -> None:
        self._read = read
        self._reading: dict[str, asyncio.Task[Used]] = {}

    async def used(self, key_id: str) -> Used:
        """Tokens of this month; 0 for a moment if the database is unavailable: fails open."""
        task = self._reading.get(key_id)
        if task is None:
            task = self._reading[key_id] = asyncio.create_task(self._ask(key_id))
            task.add_done_callback(lambda _: self._reading.pop(key_id))
        return await asyncio.shield(task)

    async def _ask(self, key_id: str) -> Used:
        try:
            async with asyncio.timeout(PATIENCE):
                return Used(await self._read(key_id), GOOD_FOR)
        except Exception as error:
            log.warning(
                "the tokens that key %s used this month cannot be read (%s): its monthly budget"
                " starts from 0, and the database is asked again in %d s",
                key_id,
                error or type(error).__name__,
                RETRY,
            )
            return Used(0, RETRY)

    async def close(self) -> None:
        for task in self._reading.values():
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)
