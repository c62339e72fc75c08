"""Small thread pools for blocking work, one for each resource that it waits for.

    found = await threads.search(index.search, question)

A hanging database blocks only its own threads; in asyncio's default pool, of six threads on two
cores, searches and host name look-ups would wait behind it.
"""

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """At most `size` threads per process; further calls wait their turn."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like asyncio.to_thread, in this pool."""
        context = contextvars.copy_context()
        call = partial(context.run, work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


database = Pool("database", 8)
"""SQL. Each call waits at most `database.PATIENCE` seconds."""
search = Pool("search", min(32, (os.cpu_count() or 1) + 4))
"""The index, vectors and texts: limited by the processor rather than by waiting."""
files = Pool("files", 4)
"""Small files, the disk, and numeric work in memory."""


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
