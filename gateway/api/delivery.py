"""Opens, transforms and sends the answer to one request."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.types import Message

from gateway.api.context import RequestContext
from gateway.api.plan import Fallback, RequestPlan, RequestResult, Tokens
from gateway.api.transform import WHOLE, Transform
from gateway.api.translation import Translation
from gateway.http.asgi import JSON, QUIET_SECONDS, ApiError, broken_off, event
from gateway.routing.dispatch import Opened
from gateway.routing.registry import Served
from gateway.routing.resume import Opening
from gateway.runtime.protocol import WRITER
from gateway.telemetry.metrics import LEFT
from gateway.upstream.http_client import LaneError, LaneReply

log = logging.getLogger("askdocs.gateway")

STREAM_START = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
JSON_START = [(b"content-type", JSON.encode())]


class Delivery:
    """Opens, transforms and sends the answer to one request, and leaves the result behind."""

    def __init__(
        self,
        context: RequestContext,
        plan: RequestPlan,
        transform: Transform,
        opening: Opening,
        translation: Translation | None,
    ) -> None:
        self._context = context
        self._plan = plan
        self._transform = transform
        self._opening = opening
        self._translation = translation
        self._model = ""
        self._lane = ""
        self._fallback: Fallback | None = None

    async def run(self) -> None:
        """Raises ApiError: there is no answer, and nothing has been sent."""
        status = 503  # cancelled: the gateway is shutting down
        try:
            status = await (self._stream() if self._plan.stream else self._whole())
        except ApiError as error:
            status = error.status
            raise
        except Exception:
            status = 500
            raise
        finally:
            transform = self._transform
            if self._context.response.client_left:
                status = LEFT
                self._model = self._model or self._opening.given  # its engine has read the prompt
            self._context.result = RequestResult(
                status=status,
                model=self._model,
                lane=self._lane,
                fallback=self._fallback,
                tokens=transform.tokens if self._model else Tokens(),
                refused=transform.refused,
                cautious=transform.cautious,
                claims=transform.claims,
                pages=transform.pages,
                question=transform.question,
                answer=transform.answer,
            )

    async def _stream(self) -> int:
        """Returns the status that reflects how the stream ended."""
        transform = self._transform
        body = _EventStream(self._context.response, self._translation)
        if transform.keeps_alive:
            body.keep_alive()
        try:
            last = transform.start()
            if transform.is_over:
                # The last events go out with the response's end: clients disconnect once they have
                # read them.
                self._without_model()
                if self._model:
                    self._context.measured.chunk()
            else:
                if last:
                    await body.send(last)
                last = await self._pass_on(await self._opening.first(), body)
                if transform.settles:
                    if last:
                        await body.send(last)
                    last = await transform.settle()
            await body.end(last + transform.end())
        except ApiError as error:
            if not (body.is_started or self._is_streamed(error)):
                raise
            await body.end(event(error.body))
            return error.status
        finally:
            await body.close()
        return 200 if transform.is_over and not transform.failed else 502

    def _is_streamed(self, error: ApiError) -> bool:
        codes = self._translation.streamed_errors if self._translation else ()
        return error.body["error"]["code"] in codes

    async def _pass_on(self, opened: Opened, body: "_EventStream") -> bytes:
        """Send the answer, whichever engines write it; returns the bytes still to be sent."""
        rest = WHOLE
        while True:
            try:
                self._begin(opened)
                self._transform.begin(opened, rest)
                await body.start()
                last = await self._pump(opened, body)
            finally:
                await opened.close()
            if self._transform.is_over:
                return last
            if last:
                await body.send(last)
            broken = opened.served
            more = await self._go_on(broken)
            if more is None:
                return b""
            opened = more
            rest = self._opening.rest

    async def _pump(self, opened: Opened, body: "_EventStream") -> bytes:
        """Send one engine's answer until it ends or breaks off; returns the last bytes, unsent."""
        transform, measured = self._transform, self._context.measured

        def feed(data: bytes) -> bytes:
            measured.chunk()
            return transform.feed(data)

        try:
            if transform.holds:
                async for chunk in opened.chunks():
                    out = feed(chunk) + await transform.release()
                    if out:
                        await body.send(out)
                    if transform.is_enough:
                        break
                return b""
            writer = self._context.scope.get("extensions", {}).get(WRITER)
            if (
                writer is not None
                and isinstance(opened.response, LaneReply)
                and not transform.keeps_alive
                and body.is_plain
            ):
                if out := feed(opened.first):
                    await body.send(out)
                last = await opened.response.pump(
                    lambda data: writer.write_body(feed(data)), writer.drain
                )
                return feed(last) if last else b""
            async for out in opened.through(feed):
                await body.send(out)
                if transform.is_enough:
                    break
        except LaneError:
            pass  # the answer is incomplete
        return b""

    async def _go_on(self, broken: Served) -> Opened | None:
        """Opens the rest of a broken-off answer. None: it was complete, or no model can resume
        it."""
        written = self._transform.partial()
        opened = None
        if written is not None and not self._transform.is_over:
            opened = await self._opening.again(broken, written)
        goes_on = opened is not None or self._transform.is_over
        self._context.measured.broke_off(broken.name, "continued" if goes_on else "ended")
        return opened

    async def _whole(self) -> int:
        transform = self._transform
        body = transform.start()
        if transform.is_over:
            self._without_model()
        else:
            body = await self._read(await self._opening.first())
        if self._translation is not None:
            body = self._translation.whole(body)
        context = self._context
        writer = context.scope.get("extensions", {}).get(WRITER)
        await context.response.whole(JSON_START, body, writer)
        return 200

    async def _read(self, opened: Opened) -> bytes:
        """Read the whole answer. If it breaks off, request it again: nothing has been sent."""
        rest = WHOLE
        while True:
            try:
                self._begin(opened)
                self._transform.begin(opened, rest)
                return await self._transform.whole(await opened.body(self._plan.copies))
            except LaneError:
                error = broken_off()
            except ApiError as stated:
                error = stated
            except (ValueError, LookupError, TypeError, AttributeError):  # it is no answer
                log.exception("an answer of %s could not be read", opened.served.name)
                error = broken_off()
            finally:
                await opened.close()
            more = await self._go_on(opened.served)
            if more is None:
                raise error
            opened = more

    def _without_model(self) -> None:
        """The answer consists of passages only: count it for the model that the alias chose."""
        if not self._transform.refused:
            self._model, self._lane = self._plan.first_choice, "index"
            self._context.response.headers["x-askdocs-model"] = self._model
            self._context.measured.first_byte()

    def _begin(self, opened: Opened) -> None:
        """Record that a model starts answering."""
        context = self._context
        is_resumed = bool(self._model)
        if not (is_resumed and context.response.is_started):
            self._model = opened.served.name
            self._lane = opened.lane
            context.response.headers["x-askdocs-model"] = self._model
        if opened.left:
            self._fallback = Fallback(*opened.left)
            context.response.headers["x-askdocs-fallback"] = ": ".join(self._fallback)
            context.measured.fallback(*self._fallback[:1], opened.served.name, opened.left[1])
        context.measured.first_byte()


class _EventStream:
    """A response of server-sent events. Always `close` it."""

    def __init__(
        self,
        send: Callable[[Message], Awaitable[None]],
        translation: Translation | None = None,
    ) -> None:
        """`translation` turns the chat's events into the client's."""
        self._send = send
        self._translation = translation
        self._sent = 0.0
        self._sending: asyncio.Lock | None = None
        self._quiet: asyncio.Task[None] | None = None
        self.is_started = False

    def keep_alive(self) -> None:
        """Send a comment when the stream is idle, so that proxies do not close it."""
        self._sent = time.monotonic()
        self._sending = asyncio.Lock()
        self._quiet = asyncio.create_task(self._comment())

    async def start(self) -> None:
        if not self.is_started:
            self.is_started = True
            headers = list(STREAM_START)
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    @property
    def is_plain(self) -> bool:
        """Are the chat's events sent unchanged?"""
        return self._translation is None

    async def send(self, data: bytes) -> None:
        if self._translation is not None:
            data = self._translation.feed(data)
        if data:
            await self._put(data)

    async def _put(self, data: bytes) -> None:
        part: Message = {"type": "http.response.body", "body": data, "more_body": True}
        if self._sending is None:
            if not self.is_started:
                await self.start()
            await self._send(part)
            return
        self._sent = time.monotonic()
        async with self._sending:
            await self.start()
            await self._send(part)

    async def end(self, data: bytes) -> None:
        if self._quiet is not None:
            await self.close()
        if self._translation is not None:
            data = self._translation.feed(data)
        if not self.is_started:
            await self.start()
        await self._send({"type": "http.response.body", "body": data})

    async def close(self) -> None:
        quiet, self._quiet = self._quiet, None
        if quiet is not None:
            quiet.cancel()
            await asyncio.wait([quiet])

    async def _comment(self) -> None:
        while True:
            quiet = time.monotonic() - self._sent
            if quiet >= QUIET_SECONDS:
                await self._put(b": still working\n\n")
            else:
                await asyncio.sleep(QUIET_SECONDS - quiet)
