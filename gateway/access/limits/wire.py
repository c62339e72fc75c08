"""A single Redis connection shared by all requests of a process.

Commands are written in call order, many at a time, and replies arrive in the same order. redis-py's
client takes 57 µs of CPU per call with 64 clients, as each call borrows its own connection; this
takes 2 µs (see tests/bench/limits.py). redis-py parses the address, password and TLS options.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import hiredis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)

PATIENCE = 0.09
"""Seconds without a byte of an expected reply until Redis counts as unavailable."""
CONNECT = 1.0
"""Seconds for a new connection, and for each reply on a trial connection; no request waits for
it."""
LOOKS = 2
"""Checks per PATIENCE, so that a reply that arrived while this process was busy is read in
between."""

Command = tuple[str | bytes | int, ...]
Reply = Any
"""Redis's reply, or an exception: from Redis (hiredis.ReplyError) or the connection."""


class Address:
    """The address of Redis, from `redis://`, `rediss://` (TLS) or `unix://`. Raises ValueError."""

    def __init__(self, url: str) -> None:
        options = dict(parse_url(url))
        kind: Any = options.pop("connection_class", Connection)
        # It never connects: it only parses the URL.
        self._parsed: AbstractConnection = kind(**options)

    def __str__(self) -> str:
        """The address without the password."""
        parsed: Any = self._parsed
        if isinstance(parsed, UnixDomainSocketConnection):
            return f"{parsed.path} database {parsed.db}"
        return f"{parsed.host}:{parsed.port} database {parsed.db}"

    async def connect(self, lost: Callable[[Exception], None]) -> "Wire":
        """Connect. `lost` is called once, when the connection can no longer be used.

        Raises:
            OSError: the server does not answer.
            hiredis.ReplyError: Redis rejects the user, the password or the database.
        """
        parsed: Any = self._parsed
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT):
            if isinstance(parsed, UnixDomainSocketConnection):
                _, wire = await loop.create_unix_connection(lambda: Wire(lost), parsed.path)
            else:
                tls = parsed.ssl_context.get() if isinstance(parsed, SSLConnection) else None
                _, wire = await loop.create_connection(
                    lambda: Wire(lost), parsed.host, parsed.port, ssl=tls
                )
        try:
            if parsed.password:
                user = (parsed.username,) if parsed.username else ()
                await _accepted(wire, "AUTH", *user, parsed.password)
            if parsed.db:
                await _accepted(wire, "SELECT", parsed.db)
        except BaseException:
            wire.abort()
            raise
        return wire


async def _accepted(wire: "Wire", *command: str | int) -> None:
    reply = await wire.send(command)
    if isinstance(reply, Exception):
        raise reply


class Wire(asyncio.Protocol):
    """The connection. Returns errors as replies instead of raising them."""

    def __init__(self, lost: Callable[[Exception], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._lost: Callable[[Exception], None] | None = lost
        self._transport: asyncio.Transport | None = None
        self._replies = hiredis.Reader()
        self._unsent: list[bytes] = []
        self._waiting: deque[Callable[[Reply], None]] = deque()
        self._silent = 0
        self._watch: asyncio.TimerHandle | None = None
        self.on_trial = True
        """No request waits for it, so replies may take longer than PATIENCE."""
        self.is_slow = False
        """Has a reply taken longer than PATIENCE?"""
        self._closed = asyncio.Event()

    def send(
        self, command: Command, left: Callable[[Reply], None] | None = None
    ) -> asyncio.Future[Reply]:
        """`left` gets the reply if the caller is cancelled before it arrives."""
        future: asyncio.Future[Reply] = self._loop.create_future()

        def arrived(reply: Reply) -> None:
            if not future.done():
                future.set_result(reply)
            elif left is not None:
                left(reply)

        self.post(command, arrived)
        return future

    def post(self, command: Command, arrived: Callable[[Reply], None]) -> None:
        """Send a command, and call `arrived` with its reply."""
        if self._lost is None:
            arrived(ConnectionError("the connection is closed"))
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(cast(Any, command)))
        self._waiting.append(arrived)
        if self._watch is None:
            self._silent = 0
            self._watch = self._loop.call_later(PATIENCE / LOOKS, self._look)

    def _flush(self) -> None:
        if self._transport is not None and self._unsent:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _look(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        self._silent += 1
        silence = self._silent * PATIENCE / LOOKS
        self.is_slow = self.is_slow or self._silent >= LOOKS
        if silence >= (CONNECT if self.on_trial else PATIENCE):
            self._end(TimeoutError(f"no reply for {silence * 1000:.0f} ms"))
            return
        self._watch = self._loop.call_later(PATIENCE / LOOKS, self._look)

    async def close(self) -> None:
        """Write pending commands, and close."""
        self._lost = None
        self._flush()
        if self._transport is not None:
            self._transport.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._closed.wait()
        self.abort()

    def abort(self) -> None:
        self._lost = None
        self._end(ConnectionError("the connection is closed"))

    def _end(self, error: Exception) -> None:
        lost, self._lost = self._lost, None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            self._transport.abort()
        if lost is not None:
            lost(error)
        while self._waiting:
            self._waiting.popleft()(error)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._silent = 0
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not False:
                if self._waiting:
                    self._waiting.popleft()(reply)
                else:  # such as "max number of clients reached", before any command
                    self._end(ConnectionError(str(reply)))
        except hiredis.ProtocolError as error:
            self._end(ConnectionError(f"the server is not Redis: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._closed.set()
        self._end(error or ConnectionError("Redis closed the connection"))
