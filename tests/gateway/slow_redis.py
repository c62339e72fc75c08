"""A proxy before a Redis that hands each reply on after a delay, for tests of a slow one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def slowed(port: int, seconds: float, listen: int = 0) -> AsyncIterator[str]:
    """The address of a proxy before the Redis at `port`; its commands arrive at once."""
    tasks: set[asyncio.Task[None]] = set()

    async def relay(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float
    ) -> None:
        try:
            while data := await reader.read(65_536):
                await asyncio.sleep(delay)
                writer.write(data)
                await writer.drain()
        finally:
            writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        for task in (relay(reader, back, 0), relay(there, writer, seconds)):
            tasks.add(asyncio.create_task(task))

    server = await asyncio.start_server(serve, "127.0.0.1", listen)
    try:
        async with server:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
            for task in tasks:
                task.cancel()
    finally:
        await asyncio.gather(*tasks, return_exceptions=True)
