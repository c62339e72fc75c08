"""The fast lane: an HTTP/1.1 client for one engine, with raw bytes and pooled connections.

    client = Lane("http://127.0.0.1:8001/v1")
    reply = await client.open("/chat/completions", (), body)
    try:
        async for chunk in reply.chunks():
            ...
    finally:
        reply.close()

It uses asyncio.Protocol and httptools' C parser, with one future per wait and no queue, at half the
cost per request of aiohttp's client (docs/explanation/architecture.md).
"""

import asyncio
import math
import ssl
from asyncio import AbstractEventLoop, Future
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

import httptools

from core.errors import AskdocsError

# Seconds to wait for a connection, not counting time in which this process was held up.
CONNECT_S = 0.25
TLS_S = 1.0  # including the handshake; an engine behind TLS is rarely nearby
STEP_S = 0.05
MAX_HEAD = 65536  # bytes of a response's headers and trailers
HIGH_WATER = 65536  # buffered bytes for a slow reader until the engine is paused
IDLE_CONNECTIONS = 256
# A connection can be dead without having been closed, for example because a firewall or router has
# dropped it. The only sign is silence.
IDLE_S = 5.0  # to keep an idle connection: an older one may be dead
SILENT_S = 15.0  # without a byte, until another connection checks whether the engine is alive
PROBE_S = 10.0  # to wait for the check's first byte
STUCK_S = 60.0  # without a byte within an answer, if the engine is alive

# With this many concurrent answers, their bytes are parsed together at the next tick: a hundred
# repetitions of the same work in a row cost less than with other work in between.
TOGETHER = 16
TICK_S = 0.02

RawHeaders = Iterable[tuple[bytes, bytes]]
Write = Callable[[bytes], bool]
Feed = Callable[[bytes], bytes]
# Headers that the client sets itself, or that belong to one connection only (RFC 9110, 7.6.1).
_OWN = frozenset(
    b"host content-type content-length transfer-encoding connection keep-alive te trailer upgrade"
    b" expect proxy-connection authorization x-api-key api-key accept-encoding".split()
)


class LaneError(Exception):
    """The engine's answer is missing or incomplete.

    Not a ConnectionError, which means that a client has disconnected.
    """


class Unreachable(LaneError):
    """No byte of a response has arrived: another engine may be tried without the client
    noticing."""


class Silent(Unreachable):
    """No byte arrived for long, and the engine does not answer on another connection either."""


class BrokenOff(LaneError):
    """The response is incomplete, or was not HTTP."""


class EngineHttpClient:
    """Pooled connections to one engine."""

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        """`base_url` is the engine's OpenAI API, with /v1. Raises AskdocsError if it is not a
        URL."""
        try:
            parts = urlsplit(base_url)
            self._port = parts.port or (443 if parts.scheme == "https" else 80)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError
        except ValueError:
            text = f"{base_url!r} is not a base URL like http://127.0.0.1:8001/v1"
            raise AskdocsError(text) from None
        self._host = parts.hostname
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._path = parts.path.rstrip("/")
        credential = f"authorization: Bearer {api_key}\r\n" if api_key else ""
        host = parts.netloc.rpartition("@")[2]
        self._head = f"host: {host}\r\n{credential}content-type: application/json\r\n".encode()
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._ticks = _Ticks()
        self._probing: asyncio.Task[bool] | None = None

    async def open(self, path: str, headers: RawHeaders, body: bytes) -> "LaneReply":
        """POST `body` to `path` below the base URL, and wait for the response's headers.

        `headers` are passed on, except connection headers and credentials.
        Cancelling the call closes its connection.

        Raises:
            Unreachable: the engine refused, did not accept in 250 ms, closed without a byte, or
                became silent and does not answer on another connection either.
            BrokenOff: it closed within the headers, or the response is not HTTP.
        """
        lines = [b"POST %b%b HTTP/1.1\r\n" % (self._path.encode(), path.encode()), self._head]
        for name, value in headers:
            if name not in _OWN:
                if b"\n" in value or b"\r" in value:
                    raise ValueError(f"a header's value has a line break: {value[:80]!r}")
                lines += (name, b": ", value, b"\r\n")
        lines += (b"content-length: %d\r\n\r\n" % len(body), body)
        request = b"".join(lines)
        connection = self._reusable()
        if connection:
            try:
                return await connection.request(request)
            except Silent:
                raise
            except Unreachable:
                # llama.cpp announces keep-alive on a stream and then closes: a kept connection may
                # be dead, which shows on first use. Retry once, and only before any byte has
                # arrived.
                pass
        return await (await self._connect()).request(request)

    async def close(self) -> None:
        """Close all connections, including those in use."""
        for connection in list(self._open):
            connection.abort()

    def _reusable(self) -> "_Connection | None":
        """A recently used connection."""
        if not self._idle:
            return None
        oldest = asyncio.get_running_loop().time() - IDLE_S
        if self._idle[-1].last < oldest:
            self._drop_idle()
            return None
        return self._idle.pop()

    def _drop_idle(self) -> None:
        for connection in list(self._idle):
            connection.abort()
        self._idle.clear()

    async def _is_alive(self) -> bool:
        """Does the engine send anything on a new connection? All silent connections share the
        check."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())
        return await asyncio.shield(self._probing)

    async def _probe(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_S):
                reader, writer = await asyncio.open_connection(
                    self._host, self._port, ssl=self._tls
                )
                try:
                    line = b"GET %b/models HTTP/1.1\r\n" % self._path.encode()
                    writer.write(line + self._head + b"connection: close\r\n\r\n")
                    alive = bool(await reader.read(1))
                finally:
                    writer.transport.abort()
                    with suppress(OSError):
                        await writer.wait_closed()
        except (OSError, TimeoutError):
            alive = False
        if not alive:
            self._drop_idle()
        return alive

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(
            loop.create_connection(
                lambda: _Connection(loop, self._idle, self._open, self._ticks, self._is_alive),
                self._host,
                self._port,
                ssl=self._tls,
            )
        )
        left = TLS_S if self._tls else CONNECT_S
        try:
            # Count the planned time of each step: if it took longer, this process had no time to
            # notice the connection either.
            while not (await asyncio.wait({connecting}, timeout=STEP_S))[0]:
                if (left := left - STEP_S) <= 0:
                    raise Unreachable(f"{self._host}:{self._port}: no connection in time")
            return connecting.result()[1]
        except OSError as error:
            raise Unreachable(f"{self._host}:{self._port}: {error}") from None
        except BaseException:
            connecting.cancel()
            connecting.add_done_callback(_abandon)
            raise


def _abandon(connecting: "asyncio.Task[tuple[asyncio.Transport, _Connection]]") -> None:
    """Drop a connection that is no longer needed."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result()[1].abort()


class LaneReply:
    """A response whose headers have arrived. Read `chunks()` or `read()` once; then `close()`."""

    __slots__ = ("_connection", "headers", "status")

    def __init__(
        self, connection: "_Connection", status: int, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        """Names in lower case, as in ASGI."""

    def header(self, name: bytes) -> bytes:
        """The value of the header `name`, which is in lower case; empty if it is missing."""
        return next((value for key, value in self.headers if key == name), b"")

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, one chunk per read. Raises BrokenOff."""
        # Not a generator: abandoning one before its end costs a task to finalise it.
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        connection = self._connection
        while True:
            data = connection.take()
            if data:
                return data
            if connection.complete:
                raise StopAsyncIteration
            await connection.wait()

    def through(self, feed: "Feed") -> AsyncIterator[bytes]:
        """Like `chunks`, but yields the output of `feed`, called as soon as bytes arrive.

        No task wakes up while the output is empty. `feed` must not raise.
        """
        self._connection.through(feed)
        return self

    async def pump(self, write: "Write", drain: Callable[[], Awaitable[None]]) -> bytes:
        """Pass the body to `write` as it arrives; returns the bytes that arrive with its end.

        No task wakes up for a chunk, which halves the cost of 500 streams of tokens. `write`
        returns whether it accepts more; if not, the engine is paused until `drain` returns. `write`
        must not raise. Raises BrokenOff.
        """
        return await self._connection.pump(write, drain)

    async def read(self) -> bytes:
        """The complete body. Raises BrokenOff."""
        return b"".join([chunk async for chunk in self.chunks()])

    def close(self) -> None:
        """Keep the connection if the response is complete, else close it.

        The engine then notices that its client disconnected, and stops generating.
        """
        self._connection.release(self)


class _Ticks:
    """The ticks at which bytes of concurrent answers are parsed together."""

    def __init__(self) -> None:
        self._reading: set[_Connection] = set()
        self._due: list[_Connection] = []

    def begin(self, connection: "_Connection") -> None:
        self._reading.add(connection)

    def end(self, connection: "_Connection") -> None:
        self._reading.discard(connection)

    def wait(self, connection: "_Connection", loop: AbstractEventLoop) -> bool:
        """Are there so many connections that this one must wait for the next tick?"""
        if len(self._reading) < TOGETHER:
            return False
        if not self._due:
            loop.call_later(TICK_S, self._tick)
        self._due.append(connection)
        return True

    def _tick(self) -> None:
        due, self._due = self._due, []
        for connection in due:
            connection.catch_up()


class _Connection(asyncio.Protocol):
    """A connection, with at most one request at a time."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        idle: "list[_Connection]",
        open_: "set[_Connection]",
        ticks: _Ticks,
        is_alive: Callable[[], Awaitable[bool]],
    ) -> None:
        self._loop = loop
        self._idle = idle
        self._open = open_
        self._ticks = ticks
        self._is_alive = is_alive
        self.last = loop.time()
        """The time of its last activity."""
        self._watch: asyncio.TimerHandle | None = None
        self._probing: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._error: LaneError | None = None
        self._closed = False
        self._fresh()
        self.complete = True

    def _fresh(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._waiter: Future[None] | None = None
        self._reply: LaneReply | None = None
        self._parts: list[bytes] = []
        self._waiting_bytes = 0
        self._paused = False
        self._write: Write | None = None
        self._feed: Feed | None = None
        self._unfed: list[bytes] = []
        self._unread: list[bytes] = []  # until the next tick
        self._blocked = False  # the writer cannot accept more yet
        self._head_bytes = 0
        self._unparsed = 0  # bytes that arrived before the headers were complete
        self._heard = False
        self._begun = False  # a byte of the body has arrived
        self._interim = False
        self._keep = False
        self._to_end = False  # the body ends when the connection closes
        self.complete = False

    async def request(self, data: bytes) -> LaneReply:
        self._fresh()
        if self._closed:
            raise Unreachable("the connection is closed")
        self._transport.write(data)
        self.last = self._loop.time()
        if self._watch is None:  # one from the previous request can be reused
            self._watch = self._loop.call_later(SILENT_S, self._look)
        try:
            while self._reply is None:
                await self.wait()
        except asyncio.CancelledError:
            self.abort()
            raise
        return self._reply

    async def wait(self) -> None:
        """Wait for data. Raises the error that broke the connection."""
        if self._error:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take(self) -> bytes:
        """The pending bytes of the body."""
        parts = self._parts
        if not parts:
            return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._waiting_bytes = 0
        self._resume()
        return data

    def through(self, feed: "Feed") -> None:
        self._feed = feed
        if not (self.complete or self._closed):
            self._ticks.begin(self)
        self._parts = [made for made in map(feed, self._parts) if made]
        self._waiting_bytes = sum(map(len, self._parts))
        if self._waiting_bytes <= HIGH_WATER:
            self._resume()

    async def pump(self, write: "Write", drain: Callable[[], Awaitable[None]]) -> bytes:
        try:
            while not self.complete:
                if self._parts:
                    self._blocked = not write(self.take())
                if self._blocked:
                    await drain()
                    self._blocked = False
                    self._resume()
                else:
                    self._write = write
                    await self.wait()
                    self._write = None
            return self.take()
        finally:
            self._write = None

    def release(self, reply: LaneReply) -> None:
        if self._reply is not reply:
            return  # closed already
        if not self.complete:
            self.abort()
        elif self._is_reusable():
            self._reply = None
            self._idle.append(self)
        else:
            self._transport.close()

    def _is_reusable(self) -> bool:
        # A response may arrive before the whole request has been sent, such as a 413.
        transport = self._transport
        unsent = transport.get_write_buffer_size()
        is_alive = self._keep and not transport.is_closing()
        return is_alive and not unsent and len(self._idle) < IDLE_CONNECTIONS

    def abort(self) -> None:
        self._unread = []  # no reader is left
        self._fail("closed by us")
        self._transport.abort()

    def _look(self) -> None:
        """Check whether the engine has been silent for too long."""
        self._watch = None
        if self.complete or self._error:
            return
        silent = self._loop.time() - self.last
        if self._paused or silent < SILENT_S:
            self._watch = self._loop.call_later(SILENT_S - silent % SILENT_S, self._look)
        elif self._probing is None:
            self._probing = self._loop.create_task(self._probe())

    async def _probe(self) -> None:
        alive = await self._is_alive()
        self._probing = None
        silent = self._loop.time() - self.last
        if self.complete or self._error:
            return
        if silent >= (STUCK_S if alive and self._begun else math.inf if alive else SILENT_S):
            self._fail(f"not a byte for {silent:.0f} s", silent=not alive)
            self._transport.abort()
        elif self._watch is None:
            self._watch = self._loop.call_later(SILENT_S, self._look)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, why: str, *, silent: bool = False) -> None:
        if self.complete or self._error:
            return
        kind = BrokenOff if self._heard else Silent if silent else Unreachable
        self._error = kind(f"the engine broke off: {why}")
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(self._error)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.catch_up()
        self._ticks.end(self)
        self._closed = True
        self._open.discard(self)
        if self._watch is not None:
            self._watch.cancel()
        if self in self._idle:
            self._idle.remove(self)
        if self._to_end and exc is None and not self._error:
            self.complete = True
            self._wake()
        else:
            self._fail(str(exc) if exc else "the connection was closed")

    def data_received(self, data: bytes) -> None:
        if self.complete:  # no request is pending: the two sides disagree on where a response ends
            self._transport.abort()
            return
        self._heard = True
        self.last = self._loop.time()
        if self._unread:
            self._unread.append(data)
        elif self._feed is not None and self._ticks.wait(self, self._loop):
            self._unread = [data]
        else:
            self._read(data)

    def catch_up(self) -> None:
        """Parse the pending bytes."""
        if self._unread:
            data = b"".join(self._unread)
            self._unread = []
            self._read(data)

    def _read(self, data: bytes) -> None:
        if self._reply is None:
            self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
            if self._reply is None and self._unparsed > MAX_HEAD:
                raise ValueError(f"headers of more than {MAX_HEAD} bytes")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError) as error:
            self._fail(f"not HTTP: {error.__context__ or error}")
            self._transport.abort()
        if self._feed is not None and self._unfed:
            unfed, self._unfed = self._unfed, []
            made = self._feed(b"".join(unfed))
            if made:
                self._parts.append(made)
                self._waiting_bytes += len(made)
        if self._write is not None and self._parts and not self.complete:
            self._blocked = not self._write(self.take())
            if not self._blocked:
                return
            self._write = None
            self._pause()
        elif self._waiting_bytes > HIGH_WATER:
            self._pause()
        if self._feed is None or self._parts or self.complete:
            self._wake()

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD:
            raise ValueError(f"headers of more than {MAX_HEAD} bytes")
        if self._reply is None:  # otherwise it is a trailer, which is dropped
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._reply is not None:
            raise ValueError("two responses to one request")
        status = self._parser.get_status_code()
        if status < 200:
            self._interim = True
            self._headers = []
            return
        names = {name for name, _ in self._headers}
        self._to_end = not (
            status in (204, 304) or b"content-length" in names or b"transfer-encoding" in names
        )
        self._reply = LaneReply(self, status, self._headers)

    def on_body(self, body: bytes) -> None:
        self._begun = True
        if self._feed is not None:
            self._unfed.append(body)
            return
        self._parts.append(body)
        self._waiting_bytes += len(body)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self.complete = True
        self._ticks.end(self)
        self._keep = self._parser.should_keep_alive()
