"""Loads expensive libraries on first use: each costs seconds and about a hundred megabytes."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    """A value from a context manager that the first `get` enters.

    One task enters and exits the context manager, as task groups require. Belongs to one event
    loop.
    """

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._open = open
        self._task: asyncio.Task[None] | None = None
        self._value: asyncio.Future[T] | None = None
        self._leaving = asyncio.Event()

    async def get(self) -> T:
        """Raises the context manager's errors; the next call retries."""
        if self._value is None or (self._value.done() and self._value.exception() is not None):
            self._value = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._keep(self._value))
        return await asyncio.shield(self._value)

    async def close(self) -> None:
        self._leaving.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self, value: "asyncio.Future[T]") -> None:
        try:
            async with self._open() as opened:
                value.set_result(opened)
                await self._leaving.wait()
        except Exception as error:
            if value.done():
                raise
            value.set_exception(error)
            value.exception()  # nobody may be waiting for it
