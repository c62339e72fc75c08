"""Small thread pools for blocking work, one for each resource that it waits for.

    found = await threads.search(index.search, question)

A database that hangs holds its own threads alone; with asyncio's default ones, of which there are
six on two cores, searches and the resolution of names would wait behind it.
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
    """At most `size` threads of one process; what comes above waits for its turn."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As asyncio.to_thread, in one of these threads."""
        context = contextvars.copy_context()
        call = partial(context.run, work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


database = Pool("database", 8)
"""SQL. Each call waits `database.PATIENCE` seconds at most."""
search = Pool("search", min(32, (os.cpu_count() or 1) + 4))
"""The index, vectors and texts: they need a processor more than they wait."""
files = Pool("files", 4)
"""Small files, the disk, and what is made of numbers in memory."""
