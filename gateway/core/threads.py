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
from functools import partial
from typing import ParamSpec, TypeVar

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
