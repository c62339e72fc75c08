"""How many requests are under way, so that background work can stand back."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Traffic:
    """Counts the requests in one process."""

    def __init__(self) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = asyncio.Event()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Marks a request from its first to its last byte."""
        self._running += 1
        self._idle.clear()
        self._busy.set()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._busy.clear()
                self._idle.set()

    @property
    def is_busy(self) -> bool:
        """Also for threads."""
        return self._running > 0

    async def until_idle(self) -> None:
        await self._idle.wait()

    async def until_busy(self) -> None:
        await self._busy.wait()
