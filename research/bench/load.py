"""The load generator of the benchmark: N clients on raw sockets, one request after the other.

    python -m research.bench.load --url http://127.0.0.1:4000/v1 --model docs --clients 16 --stream

The key comes from the environment variable BENCH_KEY. Prints one line of JSON. `--paced` opens
`--clients` streams, each once, and compares the clock readings in their chunks (see upstream.py)
with the time of arrival.
"""

import argparse
import asyncio
import json
import os
import re
import time
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

from askdocs.capacity.arrivals import percentile

WARM_S = 0.3
_STAMP = re.compile(rb'"content":\s?"(\d+)"')


@dataclass
class LoadTally:
    """The results of a run's clients."""

    latencies: list[float] = field(default_factory=list)  # seconds
    completed: int = 0  # warm-up and the last requests included
    errors: int = 0
    error: str = ""
    transit: list[float] = field(default_factory=list)  # seconds from write to read
    added: list[float] = field(default_factory=list)  # seconds by which gaps between chunks grew

    def fail(self, why: str) -> None:
        self.errors += 1
        self.error = self.error or why


class Client(asyncio.Protocol):
    """A client: sends, reads to the end, and repeats until `until`."""

    def __init__(self, request: bytes, tally: LoadTally, stream: bool) -> None:
        self._request = request
        self._tally = tally
        self._stream = stream
        self.counting = False
        self.stopping = False
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._tail = b""
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._tail = data[-600:] if len(data) > 600 else (self._tail + data)[-600:]
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._tally.fail(f"not HTTP: {error}")
            self._transport.abort()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        end = b"[DONE]" if self._stream else b'"usage"'
        if status != 200 or end not in self._tail:
            self._tally.fail(f"{status}: {self._tail!r}")
            self._transport.abort()
            return
        self._tally.completed += 1
        if self.counting:
            self._tally.latencies.append(time.perf_counter() - self._began)
        if self.stopping or not self._parser.should_keep_alive():
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc:
            self._tally.fail(f"connection lost: {exc!r}")
        if not self.ended.done():
            self.ended.set_result(None)


class PacedClient(Client):
    """A client that reads one stream, and records when each chunk came."""

    def __init__(self, request: bytes, tally: LoadTally, stream: bool) -> None:
        super().__init__(request, tally, stream)
        self.counting = self.stopping = True
        self._last: tuple[int, int] | None = None

    def on_body(self, body: bytes) -> None:
        now = time.monotonic_ns()
        for stamp in _STAMP.findall(body):
            sent = int(stamp)
            self._tally.transit.append((now - sent) / 1e9)
            if self._last:
                before_sent, before_now = self._last
                self._tally.added.append(((now - before_now) - (sent - before_sent)) / 1e9)
            self._last = (sent, now)


def request(url: str, model: str, key: str, stream: bool) -> bytes:
    """The bytes of a chat request."""
    parts = urlsplit(url)
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": "Say twenty tokens, please."}],
        "max_tokens": 64,
    }
    if stream:
        body["stream"] = True
    data = json.dumps(body).encode()
    head = (
        f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def run(options: argparse.Namespace) -> dict[str, object]:
    parts = urlsplit(options.url)
    tally = LoadTally()
    loop = asyncio.get_running_loop()
    wire = request(options.url, options.model, os.environ.get("BENCH_KEY", "none"), options.stream)
    clients: list[Client] = []
    kind = PacedClient if options.paced else Client
    opening = time.perf_counter()
    for number in range(options.clients):
        _, client = await loop.create_connection(
            lambda: kind(wire, tally, options.stream), parts.hostname, parts.port
        )
        clients.append(client)
        if options.paced:  # spread over a second, like real arrivals
            await asyncio.sleep(max(0.0, opening + number / options.clients - time.perf_counter()))
    if not options.paced:
        await asyncio.sleep(WARM_S)
    began = time.perf_counter()
    for client in clients:
        client.counting = True
    if not options.paced:
        await asyncio.sleep(options.seconds)
    counted = len(tally.latencies)
    seconds = time.perf_counter() - began
    for client in clients:
        client.stopping = True
    done, _ = await asyncio.wait([client.ended for client in clients], timeout=10)
    if len(done) < len(clients):
        tally.fail(f"{len(clients) - len(done)} requests had no end after 10 s")
    if options.paced:
        counted = len(tally.latencies)
    return {
        "requests": counted,
        "completed": tally.completed,
        "errors": tally.errors,
        "error": tally.error,
        "rps": counted / seconds if seconds else 0.0,
        "p50_ms": percentile(tally.latencies, 0.5) * 1e3,
        "p99_ms": percentile(tally.latencies, 0.99) * 1e3,
        "chunks": len(tally.transit),
        "transit_p50_ms": percentile(tally.transit, 0.5) * 1e3,
        "transit_p99_ms": percentile(tally.transit, 0.99) * 1e3,
        "gap_p50_ms": percentile(tally.added, 0.5) * 1e3,
        "gap_p99_ms": percentile(tally.added, 0.99) * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True, help="base URL, with /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--paced", action="store_true")
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
