"""Protocol limits that the HTTP server enforces before the app sees a request."""

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Iterable
from typing import cast

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import (
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
)

MAX_HEAD = 65536  # bytes of a request's first line and headers
HEAD_S = 10.0  # until the headers are complete, from the first byte
# Until the body is complete, from the end of the headers. Apps with their own limit, such as
# `gateway.http.asgi.read_body`, answer earlier.
BODY_S = 32.0
LINGER_S = 2.0  # for a refused client to keep sending, unread, while it reads the refusal
HIGH_WATER = 65536  # buffered bytes until the end of the event loop's turn

RawHeaders = Iterable[tuple[bytes, bytes]]

WRITER = "askdocs.writer"
"""The extension of the ASGI scope: the connection, with `respond`, `write_body`, `drain` and
`when_client_leaves`."""

_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n)", re.IGNORECASE)
# A possible beginning of such a header, or of the end of the headers, at the end of a read.
_CUT = re.compile(
    rb"\r\n(?:u(?:p(?:g(?:r(?:a(?:d(?:e(?::[^\r\n]*)?)?)?)?)?)?)?)?\r?\Z|\r\Z", re.IGNORECASE
)
LONGEST_UPGRADE = 1024


class Edge(HttpToolsProtocol):
    """A connection that is not trusted until its headers are complete.

    Answers in OpenAI's error format, and closes the connection, if the headers exceed `MAX_HEAD`
    bytes or take longer than `HEAD_S`, the body takes longer than `BODY_S`, its trailers exceed
    `MAX_HEAD` bytes, or the data is not HTTP. Ignores trailers. Closes idle connections after
    uvicorn's `timeout_keep_alive`, even if they send blank lines.
    """

    _in_head = False
    _in_message = False
    _began = False  # a message began within the current read
    _held = b""  # the end of the last read, which may be part of an Upgrade header
    _head_bytes = 0  # bytes of reads that ended within the headers, or brought nothing of the body
    _reading = 0  # bytes of the current read
    _timer: asyncio.TimerHandle | None = None
    _refusal: tuple[int, str, str] | None = None
    _refused = False
    _retiring = False
    _left: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.outbox = _Outbox(self.loop, transport)
        super().connection_made(cast(asyncio.Transport, self.outbox))
        self._timer = self.loop.call_later(HEAD_S, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        if self._left is not None:
            self._left()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head or not self._in_message:
            data = self._without_upgrade(data)
            if self._refused or not data:
                return
        self._reading = len(data)
        # uvicorn would stop the idle timer for blank lines, too.
        quiet, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        self._began = False
        super().data_received(data)
        if quiet is not None:
            if self._began or self._refused:
                quiet.cancel()
            else:
                self.timeout_keep_alive_task = quiet
        if self._in_head and not self._refused:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._refusal = _TOO_LARGE
                self.send_400_response("")
            elif self._timer is None:
                self._timer = self.loop.call_later(HEAD_S, self._late)
        elif self._in_message and not self._refused:
            self._head_bytes += len(data)  # `on_body` clears it
            if self._head_bytes > MAX_HEAD:
                self._refuse_trailers()
            elif self._timer is None:
                self._timer = self.loop.call_later(BODY_S, self._late)

    def on_message_begin(self) -> None:
        self._in_head = self._in_message = self._began = True
        self._head_bytes = 0
        super().on_message_begin()
        self.scope["extensions"] = {WRITER: self}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        self._stop_timer()
        if self._head_bytes + self._reading > MAX_HEAD:  # the read may include part of a body
            size = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size + len(self.url) > MAX_HEAD:
                self._refusal = _TOO_LARGE
                raise ValueError("headers too large")  # uvicorn calls send_400_response
        self._in_head = False
        super().on_headers_complete()
        # uvicorn would add the trailers behind a chunked body to the headers in the app's scope.
        self.headers = []
        self._head_bytes = -self._reading
        if self._retiring:
            self._announce_end()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = -self._reading
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._stop_timer()
        super().on_message_complete()

    def retire(self) -> None:
        """Close after the current answer, or after the next one, and announce it to the client."""
        self._retiring = True
        if self._is_answering():
            self._announce_end()

    def _announce_end(self) -> None:
        self.cycle.keep_alive = False
        self.cycle.default_headers = [*self.cycle.default_headers, (b"connection", b"close")]

    def write_body(self, data: bytes) -> bool:
        """Write a part of the current response's body without ASGI's `send`.

        For relayed data: no task has to wake up. Call it only between the start of the response,
        without a content-length, and its end. Returns whether more may be written; if not, await
        `drain`.
        """
        if data:
            self.outbox.write_now(b"%x\r\n%b\r\n" % (len(data), data))
        return not self.flow.write_paused

    def respond(self, send: Send, headers: RawHeaders, body: bytes) -> bool:
        """Send a complete response, with status 200 and a content-length header, in one call.

        Equals two calls of uvicorn's `send`, in a quarter of the time. Returns False and does
        nothing if these calls are needed: `send` is wrapped, or the response is not plain.
        """
        cycle = self.cycle
        if (
            send != cycle.send  # from another request, or a middleware that adds headers
            or cycle.disconnected
            or cycle.response_started
            or not cycle.keep_alive
            or cycle.scope["method"] == "HEAD"
            or self.flow.write_paused
        ):
            return False
        lines = [STATUS_LINE[200]]
        values = b""
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
            values += value
        if HEADER_VALUE_RE.search(values):
            return False
        lines += (b"\r\n", body)
        cycle.response_started = cycle.response_complete = True
        self.outbox.write(b"".join(lines))
        cycle.message_event.set()
        cycle.on_response()
        return True

    @property
    def has_whole_request(self) -> bool:
        """Has the current request's body arrived?"""
        return not self._in_message

    def when_client_leaves(self, call: Callable[[], None] | None) -> None:
        """Set the callback for a lost connection; None removes it.

        Replaces a task per request that waits for ASGI's `http.disconnect`.
        """
        self._left = call

    async def drain(self) -> None:
        """Wait until the client has read enough of the written data."""
        await self.flow.drain()

    def send_400_response(self, msg: str) -> None:
        """Reject the data, and close. uvicorn calls it for data that its parser rejects."""
        self._refused = True
        self._stop_timer()
        if self._is_answering():
            if self.cycle.response_started or self._in_head or self.pipeline:
                self.transport.abort()  # it must not become part of an earlier request's answer
                return
            self.cycle.disconnected = True  # its body is broken: the app need not wait for it
            self.cycle.message_event.set()
        status, message, code = self._refusal or _NOT_HTTP
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        body = json.dumps({"error": error}).encode()
        head = (
            b"content-type: application/json\r\ncontent-length: %d\r\n"
            b"x-request-id: %b\r\nconnection: close\r\n\r\n"
        )
        tail = head % (len(body), uuid.uuid4().hex.encode())
        self.transport.write(STATUS_LINE[status] + tail + body)
        if self.transport.can_write_eof():
            # Closing with unread bytes resets the connection, and the client may lose the answer.
            self.transport.write_eof()
            self._timer = self.loop.call_later(LINGER_S, self.transport.abort)
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _late(self) -> None:
        self._timer = None
        if self.pipeline or (self._in_head and self._is_answering()):
            self._timer = self.loop.call_later(HEAD_S, self._late)  # let the answer end first
        elif self._in_head:
            self._refusal = _TOO_SLOW
            self.send_400_response("")
        elif self._is_answering():
            self._refusal = _BODY_TOO_SLOW
            self.send_400_response("")
        else:  # no bytes at all, or the rest of a body that was answered early
            self.transport.close()

    def _refuse_trailers(self) -> None:
        if self._is_answering():
            self._refusal = _TRAILERS_TOO_LARGE
            self.send_400_response("")
        else:
            self.transport.close()

    def _without_upgrade(self, data: bytes) -> bytes:
        """Removes upgrade requests from the headers, which a server may ignore (RFC 9110, 7.8).

        Java's HttpClient requests HTTP/2 each time; the parser would then drop the body. The end of
        a read that may be the beginning of such a header is held until the next read.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        head, separator, rest = data.partition(b"\r\n\r\n")
        if separator:
            if b"pgrade" not in head and b"PGRADE" not in head:
                return data
            return _UPGRADE.sub(b"", head + b"\r\n")[:-2] + separator + rest
        data = _UPGRADE.sub(b"", data)
        if cut := _CUT.search(data, max(0, len(data) - LONGEST_UPGRADE)):
            data, self._held = data[: cut.start()], data[cut.start() :]
        return data

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Outbox:
    """A transport that sends all data written in one turn of the event loop at once.

    uvloop makes a system call per write, which also wakes the client: 30 us each for a response's
    head, its first chunk and its end.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._parts: list[bytes] = []
        self._size = 0
        self.abort = transport.abort
        self.can_write_eof = transport.can_write_eof
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_protocol = transport.set_protocol

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER:  # so that the transport can pause writing
            self._flush()

    def write_now(self, data: bytes) -> None:
        if self._parts:
            self.write(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts = self._parts
        if parts and not self._transport.is_closing():
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
        parts.clear()
        self._size = 0


_NOT_HTTP = (400, "this is not an HTTP/1.1 request", "invalid_http")
_TOO_LARGE = (431, f"the headers are larger than {MAX_HEAD} bytes", "headers_too_large")
_TRAILERS_TOO_LARGE = (
    431,
    f"the body's chunk extensions or trailers are larger than {MAX_HEAD} bytes",
    "headers_too_large",
)
_TOO_SLOW = (408, f"the headers were not complete after {HEAD_S:.0f} s", "headers_too_slow")
_BODY_TOO_SLOW = (408, f"the body was not complete after {BODY_S:.0f} s", "request_timeout")
