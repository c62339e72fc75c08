"""Counts requests in flight so that background work can yield to them."""

import asyncio


class Traffic:
    """Counts the requests in one process."""

    def __init__(self) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = asyncio.Event()

    def request(self) -> "Traffic":
        """Marks a request from its first to its last byte: `with traffic.request():`."""
        return self

    def __enter__(self) -> None:
        self._running += 1
        if self._running == 1:
            self._idle.clear()
            self._busy.set()

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        if not self._running:
            self._busy.clear()
            self._idle.set()

    @property
    def is_busy(self) -> bool:
        """May be called from threads."""
        return self._running > 0

    async def until_idle(self) -> None:
        await self._idle.wait()

    async def until_busy(self) -> None:
        await self._busy.wait()
