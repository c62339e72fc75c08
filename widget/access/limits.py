"""Rate limits per visitor, using the gateway's limiter (in Redis if configured)."""

import math
from datetime import UTC, datetime

from gateway.access import keys
from gateway.access.limits.grant import LimitReached
from gateway.access.limits.limiter import Limiter, connect

OFTEN = "You have asked many questions. Please try again in {seconds} seconds."


class TooMany(Exception):
    """The visitor exceeded the rate limit; `seconds` until the next question is accepted."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Limits:
    """Counts visitors' requests."""

    def __init__(self, per_minute: int) -> None:
        self._limits = keys.Limits(rpm=per_minute)
        self._limiter: Limiter | None = None

    async def open(self, redis_url: str | None) -> None:
        """Open the counters. Raises AskdocsError: the Redis URL is invalid."""

        async def month(_: str) -> int:
            return 0

        self._limiter = await connect(redis_url, month)

    async def count(self, visitor: str) -> None:
        """Count a question or a vote. Raises TooMany."""
        assert self._limiter is not None
        id = f"visitor-{visitor}"
        key = keys.Key(id, id, "", datetime.now(UTC), limits=self._limits)
        try:
            grant = await self._limiter.admit(key, 0)
        except LimitReached as error:
            wait = int(error.headers.get("retry-after-ms", "1000"))
            raise TooMany(math.ceil(wait / 1000)) from error
        self._limiter.settle(grant, 0)

    async def close(self) -> None:
        """Close the connection to Redis."""
        if self._limiter is not None:
            await self._limiter.close()
