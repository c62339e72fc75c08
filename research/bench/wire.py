"""Minimal HTTP/1.1 for the benchmark's fake engines, which share cores with the systems."""

import asyncio
import json
from abc import ABC, abstractmethod
from typing import cast

import httptools

EVENTS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    """A chunk of a body of unknown length."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole(data: object) -> bytes:
    """A JSON response."""
    body = json.dumps(data, separators=(",", ":")).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % len(body)
    ) + body


class Connection(asyncio.Protocol, ABC):
    """A connection to a fake engine; `answer` is called for each request."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_open = True
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._url = b""
        self._keep = True

    @abstractmethod
    def answer(self, url: bytes, body: bytes) -> None:
        """Write the answer, now or later: with `end`, or with `begin`, `write` and `last`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)  # joined once: a body of 8 MiB comes in a hundred parts

    def on_message_complete(self) -> None:
        url, body, self._url, self._body = self._url, b"".join(self._body), b"", []
        self._keep = self._parser.should_keep_alive()
        self.answer(url, body)

    def begin(self) -> None:
        """Write the head of an event stream."""
        self.write(self._head(EVENTS))

    def last(self, data: bytes) -> None:
        """Write the end of an event stream."""
        self.write(data + b"0\r\n\r\n")
        if not self._keep:
            self._transport.close()

    def end(self, data: bytes) -> None:
        """End with a whole response."""
        self.write(self._head(data))
        if not self._keep:
            self._transport.close()

    def _head(self, data: bytes) -> bytes:
        """Echoes the client's wish to close: it must not send another request on this
        connection."""
        return data if self._keep else data.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)
