"""Threads for blocking work that do not delay process exit."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """The threads of an `askdocs up`."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like asyncio.to_thread, in a thread that does not delay process exit."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if not future.done():
                if error:
                    future.set_exception(error)
                else:
                    future.set_result(cast(T, result))

        def run() -> None:
            result, failed = None, None
            try:
                result = work(*args, **kwargs)
            except BaseException as error:
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(settle, result, failed)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return await future

    async def join(self) -> None:
        """Wait for all threads, at most six seconds each."""
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 6)
