"""HTTP helpers over ASGI: bodies, JSON, OpenAI-shaped errors, streams."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS = 30
QUIET_SECONDS = 10  # after which a comment tells proxies that a stream is alive
JSON = "application/json"
EVENTS = "text/event-stream"
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class ApiError(Exception):
    """An error in OpenAI's format, which the SDKs turn into typed exceptions.

    https://platform.openai.com/docs/guides/error-codes
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }


def unavailable(message: str, seconds: int, code: str = "engine_unavailable") -> ApiError:
    """503, with a request to retry after `seconds`."""
    return ApiError(
        503,
        message,
        kind="server_error",
        code=code,
        headers={"retry-after": str(seconds)},
    )


def engine_away() -> ApiError:
    return unavailable("the engine is starting or unavailable; try again in a few seconds", 3)


def broken_off() -> ApiError:
    return unavailable("the engine broke off during the answer; try again", 3)


async def read_body(
    headers: Headers, receive: Receive, limit: int, has_come: bool = False
) -> bytes:
    """The request's body. `has_come`: it has arrived completely, so no timeout is needed.

    Raises:
        ApiError: 413 if it is, or announces itself, longer than `limit` bytes; 415 if it is
            compressed; 408 if it takes longer than BODY_SECONDS.
        ConnectionError: the client disconnected before it was complete.
    """
    # Check before the first `receive`, which tells a client with `Expect` to continue.
    if int(headers.get("content-length", 0)) > limit:
        raise too_large(limit)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise ApiError(
            415,
            f"the body is compressed ({encoding}), which this API does not support: send it "
            "uncompressed",
            code="unsupported_content_encoding",
            headers={"accept-encoding": "identity"},
        )
    if has_come:
        return await _read_body(receive, limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_body(receive, limit)
    except TimeoutError:
        raise ApiError(
            408,
            f"the body was not complete within {BODY_SECONDS} s",
            code="request_timeout",
            headers={"connection": "close"},
        ) from None


async def _read_body(receive: Receive, limit: int) -> bytes:
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left")
        size += len(message.get("body", b""))
        if size > limit:
            raise too_large(limit)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body is larger than {limit} bytes", code="body_too_large")


def dump(body: Any) -> bytes:
    """JSON for an engine. Raises ApiError 400 if it is nested too deeply."""
    try:
        return orjson.dumps(body)
    except (TypeError, ValueError):
        try:
            return json.dumps(body).encode()
        except RecursionError:
            raise ApiError(400, "the body is nested too deeply", code="invalid_json") from None


async def send_json(
    send: Send, status: int, body: Any, headers: Mapping[str, str] | None = None
) -> None:
    data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    await send_start(send, status, JSON, {"content-length": str(len(data)), **(headers or {})})
    await send({"type": "http.response.body", "body": data})


async def send_start(
    send: Send, status: int, kind: str, headers: Mapping[str, str] | None = None
) -> None:
    raw = [(b"content-type", kind.encode())]
    raw += [(k.encode(), v.encode("latin-1", "replace")) for k, v in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


def event(data: Any) -> bytes:
    """A server-sent event whose data is JSON."""
    try:
        body = orjson.dumps(data)
    except (TypeError, ValueError):  # such as an unpaired surrogate
        body = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
    return b"data: %b\n\n" % body


DONE = b"data: [DONE]\n\n"


class Reply:
    """The response of an ASGI app called as a function: status, headers, body chunks.

    Close it when done: `reply = await Reply.open(app, scope, body)`.
    """

    def __init__(self, app: ASGIApp, scope: Scope, body: bytes) -> None:
        self._app = app
        headers = [(k, v) for k, v in scope["headers"] if k not in (b"content-length",)]
        self._scope = {
            **scope,
            "headers": [*headers, (b"content-length", str(len(body)).encode())],
            "state": dict(scope.get("state", {})),
        }
        self._body: bytes | None = body
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=64)
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.status = 0
        self.headers = Headers()

    @classmethod
    async def open(cls, app: ASGIApp, scope: Scope, body: bytes) -> "Reply":
        """Call the app, and wait for its status. Raises the app's errors."""
        reply = cls(app, scope, body)
        reply._task = asyncio.create_task(reply._run())
        started = False
        try:
            start = await reply._messages.get()
            if start is None:
                await reply._task
                raise RuntimeError("the inner app ended without a response")
            reply.status = start["status"]
            reply.headers = Headers(raw=start["headers"])
            started = True
        finally:
            if not started:
                await reply.close()
        return reply

    def header(self, name: bytes) -> bytes:
        """A header's value by its lower-case name; empty if it is missing."""
        return self.headers.get(name.decode(), "").encode("latin-1")

    async def close(self) -> None:
        """End the call: the app sees a disconnected client before it is cancelled."""
        assert self._task is not None
        self._task.add_done_callback(retrieved)
        self._gone.set()
        asyncio.get_running_loop().call_soon(self._task.cancel)
        # Not gather: if cancelled itself, it would cancel the call before the app is notified.
        await asyncio.wait([self._task])

    async def chunks(self) -> AsyncIterator[bytes]:
        while (message := await self._messages.get()) is not None:
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def body(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._messages.put)
        finally:
            # Never block a cancelled call: a disconnected reader needs no end mark.
            if not self._gone.is_set():
                await self._messages.put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}


def retrieved(task: "asyncio.Task[Any]") -> None:
    """Task callback that retrieves an exception for which nobody may be waiting."""
    if not task.cancelled():
        task.exception()
