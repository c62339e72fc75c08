"""A streaming response that is cancelled when the reader leaves."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Stream(Response):
    """Streams what an async generator yields, and always closes the generator.

    Starlette's StreamingResponse leaves a generator suspended at a `yield` to the garbage
    collector, so the gateway would continue an answer that nobody reads.
    """

    def __init__(self, content: AsyncGenerator[str], media_type: str) -> None:
        self.content = content
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        # `no-transform` and `x-accel-buffering` keep proxies from buffering the events.
        self.init_headers({"cache-control": "no-store, no-transform", "x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the content ends or the reader leaves."""
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.wait({sending, leaving})
        if not sending.cancelled() and (error := sending.exception()):
            raise error

    async def _send(self, send: Send) -> None:
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            async for text in self.content:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self.content.aclose()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
