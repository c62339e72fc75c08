"""A way to a server that can go half-open: bytes are taken and lead nowhere, nothing is closed.

What a firewall that forgets a connection does, or a host whose cable is pulled behind a proxy. It
is harder than that: the kernel here still acknowledges what is sent, so no TCP timeout helps.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class HalfOpen:
    """Forwards a port of its own to that of the server."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._loop = asyncio.new_event_loop()
        self._generation = 0
        self._swallowing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server
        self.port = 0

    def freeze(self) -> None:
        """From now on all connections lead nowhere: those that are open, for ever."""
        self._swallowing = True
        self._generation += 1

    def thaw(self) -> None:
        """New connections lead to the server again. The old ones stay as they are."""
        self._swallowing = False

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.wait(others, timeout=0.1)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        self._writers.add(writer)
        born = self._generation
        try:
            if self._swallowing:
                await self._pass(reader, None, -1)
                return
            with suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", self._to)
                writers.append(back)
                self._writers.add(back)
                ways = self._pass(reader, back, born), self._pass(there, writer, born)
                await asyncio.gather(*ways)
        finally:
            for one in writers:
                self._writers.discard(one)
                one.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, born: int
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if writer is not None and born == self._generation:
                    writer.write(data)
                    await writer.drain()
        if writer is not None and born == self._generation:
            writer.close()


@contextmanager
def half_open(to: int) -> Iterator[HalfOpen]:
    way = HalfOpen(to)
    loop = way._loop
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(way.open(), loop).result(10)
    try:
        yield way
    finally:
        asyncio.run_coroutine_threadsafe(way.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
