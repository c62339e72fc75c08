"""The fast lane: an HTTP/1.1 client for one engine, with raw bytes and pooled connections.

    client = Lane("http://127.0.0.1:8001/v1")
    reply = await client.open("/chat/completions", (), body)
    try:
        async for chunk in reply.chunks():
            ...
    finally:
        reply.close()

It stands on asyncio.Protocol and httptools' C parser, with one future per wait and no queue:
half of what aiohttp's client costs per request (docs/explanation/gateway.md).
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

from gateway.core.errors import AskdocsError

# Seconds that this process waited for a connection, and was not held up itself.
CONNECT_S = 0.25
TLS_S = 1.0  # with the handshake; an engine behind TLS is seldom next door
STEP_S = 0.05
MAX_HEAD = 65536  # bytes of a response's headers, and of its trailers
HIGH_WATER = 65536  # bytes that wait for a slow reader before the engine is made to wait
IDLE_CONNECTIONS = 256
# A connection can lead nowhere without anybody having closed it: after a firewall or a router has
# forgotten it, for example. What shows that is silence.
IDLE_S = 5.0  # that a quiet connection is kept: an older one may be such a one
SILENT_S = 15.0  # without a byte, until the engine is asked by another connection whether it lives
PROBE_S = 10.0  # until the first byte of its answer
STUCK_S = 60.0  # without a byte within an answer of an engine that lives

# With this many answers under way their bytes are taken apart together, at the next tick: what is
# done a hundred times in a row costs less than with other work in between.
TOGETHER = 16
TICK_S = 0.02

RawHeaders = Iterable[tuple[bytes, bytes]]
Write = Callable[[bytes], bool]
Feed = Callable[[bytes], bytes]
# What the client writes itself, or what belongs to one connection only (RFC 9110, 7.6.1).
_OWN = frozenset(
    b"host content-type content-length transfer-encoding connection keep-alive te trailer upgrade"
    b" expect proxy-connection authorization x-api-key api-key accept-encoding".split()
)


class LaneError(Exception):
    """The engine did not answer, or not to the end.

    Not a ConnectionError: that is a client that has left.
    """


class Unreachable(LaneError):
    """Not one byte of a response came: another engine may be asked without the client noticing."""


class Silent(Unreachable):
    """Not one byte came for long, and the engine does not answer on another connection either."""


class BrokenOff(LaneError):
    """The response began and did not end, or was not HTTP."""


class EngineHttpClient:
    """Connections to one engine."""

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        """`base_url` is the engine's OpenAI API, with /v1. Raises AskdocsError on another thing."""
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

        `headers` are passed on, but for those that are the connection's own, and credentials.
        Cancelling the call closes its connection.

        Raises:
            Unreachable: the engine refused, did not accept in 250 ms, left without a byte, or fell
                silent and answers nothing else.
            BrokenOff: it left within the headers, or what it sent is not HTTP.
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
                # be dead, which shows in the first use. Once, and only before any byte came.
                pass
        return await (await self._connect()).request(request)

    async def close(self) -> None:
        """Close every connection, those in use too."""
        for connection in list(self._open):
            connection.abort()

    def _reusable(self) -> "_Connection | None":
        """A connection that was in use a moment ago."""
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
        """Does the engine say anything on a new connection? All that fell silent share it."""
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
            # A step counts for what it was to take: where it took longer, this process had no time
            # to see the connection either.
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
    """Nobody waits for this connection any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result()[1].abort()


class LaneReply:
    """A response whose headers have come. Read `chunks()` or `read()` once; then `close()`."""

    __slots__ = ("_connection", "headers", "status")

    def __init__(
        self, connection: "_Connection", status: int, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        """Names in lower case, as ASGI has them."""

    def header(self, name: bytes) -> bytes:
        """The value of the header `name`, in lower case; empty when it is not there."""
        return next((value for key, value in self.headers if key == name), b"")

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; what came in one read is one chunk. Raises BrokenOff."""
        # Not a generator: one that is left before its end costs a task to finalise.
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
        """As `chunks`, of what `feed` makes of the bytes, the moment they come.

        No task wakes up while it makes nothing of them. It must not raise.
        """
        self._connection.through(feed)
        return self

    async def pump(self, write: "Write", drain: Callable[[], Awaitable[None]]) -> bytes:
        """Give the body to `write` the moment it comes; return what came with its end.

        No task wakes up for a chunk, which halves what 500 streams of tokens cost. `write` returns
        whether more may come; if not, the engine waits until `drain` has returned. It must not
        raise. Raises BrokenOff.
        """
        return await self._connection.pump(write, drain)

    async def read(self) -> bytes:
        """The whole body. Raises BrokenOff."""
        return b"".join([chunk async for chunk in self.chunks()])

    def close(self) -> None:
        """Keep the connection if the response was complete; else close it.

        An engine sees its client leave by that, and stops generating.
        """
        self._connection.release(self)


class _Ticks:
    """When the bytes of answers that are read in passing are taken apart."""

    def __init__(self) -> None:
        self._reading: set[_Connection] = set()
        self._due: list[_Connection] = []

    def begin(self, connection: "_Connection") -> None:
        self._reading.add(connection)

    def end(self, connection: "_Connection") -> None:
        self._reading.discard(connection)

    def wait(self, connection: "_Connection", loop: AbstractEventLoop) -> bool:
        """Is this one of so many that it waits for the next tick?"""
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
    """One connection: at most one request at a time."""

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
        """When it was last of use."""
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
        self._blocked = False  # the writer has enough for now
        self._head_bytes = 0
        self._unparsed = 0  # bytes that came before the headers were complete
        self._heard = False
        self._begun = False  # a byte of the body has come
        self._interim = False
        self._keep = False
        self._to_end = False  # the body ends with the connection
        self.complete = False

    async def request(self, data: bytes) -> LaneReply:
        self._fresh()
        if self._closed:
            raise Unreachable("the connection is closed")
        self._transport.write(data)
        self.last = self._loop.time()
        if self._watch is None:  # one that runs from the request before will do
            self._watch = self._loop.call_later(SILENT_S, self._look)
        try:
            while self._reply is None:
                await self.wait()
        except asyncio.CancelledError:
            self.abort()
            raise
        return self._reply

    async def wait(self) -> None:
        """Until something comes. Raises what broke the connection."""
        if self._error:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take(self) -> bytes:
        """The bytes of the body that wait."""
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
            return  # closed twice
        if not self.complete:
            self.abort()
        elif self._is_reusable():
            self._reply = None
            self._idle.append(self)
        else:
            self._transport.close()

    def _is_reusable(self) -> bool:
        # A response may come before the request has gone out whole, a 413 for example.
        transport = self._transport
        unsent = transport.get_write_buffer_size()
        is_alive = self._keep and not transport.is_closing()
        return is_alive and not unsent and len(self._idle) < IDLE_CONNECTIONS

    def abort(self) -> None:
        self._unread = []  # nobody waits for it
        self._fail("closed by us")
        self._transport.abort()

    def _look(self) -> None:
        """Is the engine silent for too long?"""
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
        if self.complete:  # nothing was asked: the two sides disagree on where a response ends
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
        """Read what waits for it."""
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
        if self._reply is None:  # else a trailer: dropped
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
