"""The fake engine of the benchmark: fixed answers of 20 chunks, as fast as Python can.

    python -m eval.bench.upstream --port 9000 [--gap 0.02] [--chunks 20] [--apart]

Without `--gap` the chunks of a stream follow each other at once, each a system call of its own; a
proxy that is busy may find many in one read. `--apart` lets other connections have their turn
between two chunks. With `--gap` chunks are that many seconds
apart, and the content of each is the clock's reading when it was written, in nanoseconds.
"""

import argparse
import asyncio
import json
import time
from typing import cast

import httptools
import uvloop

MODEL = "bench"
CONTENT = " token"
_EVENTS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_COMMON = {"id": "chatcmpl-bench", "created": 1700000000, "model": MODEL}


def _event(choices: list[object], **more: object) -> bytes:
    data = {**_COMMON, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _delta(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _json(data: object) -> bytes:
    body = json.dumps(data, separators=(",", ":")).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % len(body)
    ) + body


class Answers:
    """What the engine says, made once."""

    def __init__(self, chunks: int) -> None:
        usage = {"prompt_tokens": 12, "completion_tokens": chunks, "total_tokens": 12 + chunks}
        message = {"role": "assistant", "content": CONTENT * chunks}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.plain = _json(
            {**_COMMON, "object": "chat.completion", "choices": [choice], "usage": usage}
        )
        first = _chunk(_delta({"role": "assistant", "content": CONTENT}))
        middle = _chunk(_delta({"content": CONTENT}))
        last = _chunk(_delta({"content": CONTENT}, "stop"))
        self.chunks = [first, *[middle] * (chunks - 2), last]
        self.usage = _chunk(_event([], usage=usage))
        self.end = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        model = {"id": MODEL, "object": "model", "created": 0, "max_model_len": 8192}
        self.models = _json({"object": "list", "data": [model]})
        before, after = _delta({"content": "@"}).split(b"@")
        self.stamped = (before, after)


class Engine(asyncio.Protocol):
    """One connection to the fake engine."""

    def __init__(self, answers: Answers, gap: float, apart: bool) -> None:
        self._answers = answers
        self._gap = gap
        self._apart = apart
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._url = b""
        self._open = True
        self._keep = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url, body, self._url, self._body = self._url, self._body, b"", b""
        self._keep = self._parser.should_keep_alive()
        usage = b'"include_usage"' in body
        if b"/completions" not in url:
            self._end(self._answers.models)
        elif b'"stream":true' not in body and b'"stream": true' not in body:
            self._end(self._answers.plain)
        else:
            self._transport.write(self._head(_EVENTS))
            if self._gap or self._apart:
                self._step(0, self._loop.time(), usage)
                return
            for chunk in self._answers.chunks:
                self._transport.write(chunk)
            self._last(usage)

    def _head(self, data: bytes) -> bytes:
        """With the client's wish to close said back: it must not send another request here."""
        return data if self._keep else data.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)

    def _end(self, data: bytes) -> None:
        self._transport.write(self._head(data))
        if not self._keep:
            self._transport.close()

    def _last(self, usage: bool) -> None:
        if usage:
            self._transport.write(self._answers.usage)
        self._transport.write(self._answers.end)
        if not self._keep:
            self._transport.close()

    def _step(self, index: int, began: float, usage: bool) -> None:
        """Write one chunk, and plan the next."""
        if not self._open:
            return
        if index == len(self._answers.chunks):
            self._last(usage)
            return
        if self._gap:
            before, after = self._answers.stamped
            data = _chunk(b"%b%d%b" % (before, time.monotonic_ns(), after))
            due = began + (index + 1) * self._gap
            self._loop.call_at(due, self._step, index + 1, began, usage)
        else:
            data = self._answers.chunks[index]
            self._loop.call_soon(self._step, index + 1, began, usage)
        self._transport.write(data)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between chunks")
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--apart", action="store_true", help="one chunk per turn of the event loop")
    options = parser.parse_args()
    answers = Answers(options.chunks)
    server = await asyncio.get_running_loop().create_server(
        lambda: Engine(answers, options.gap, options.apart), "127.0.0.1", options.port, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
