"""The fast lane against servers that speak HTTP well, oddly or not at all."""

import asyncio
import itertools
import json
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from gateway.routing import dispatch
from gateway.routing.dispatch import Dispatch
from gateway.routing.registry import Served
from gateway.upstream import http_client as client_module
from gateway.upstream.http_client import (
    CONNECT_S,
    HIGH_WATER,
    MAX_HEAD,
    TOGETHER,
    BrokenOff,
    EngineHttpClient,
    LaneError,
    LaneReply,
    Silent,
    Unreachable,
)
from tests.waiting import async_until

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Engine:
    """A server with a script for each connection; it remembers the requests."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.requests: list[bytes] = []
        self.connections = 0
        self.left = asyncio.Event()
        self.url = ""

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        return request

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def running(
    talk: Callable[[Engine], Talk], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Engine]:
    engine = Engine(lambda reader, writer: talk(engine)(reader, writer))
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    engine.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
    try:
        yield engine
    finally:
        server.close()
        await asyncio.sleep(0)


def says(*parts: bytes, then: str = "listen", pause: float = 0.0) -> Callable[[Engine], Talk]:
    """Answers every request with the parts, then listens on, or closes."""

    def make(engine: Engine) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await engine.request(reader)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(pause)
                if then == "close":
                    return

        return talk

    return make


async def ask(lane: EngineHttpClient, body: bytes = b"{}") -> tuple[int, bytes]:
    reply = await lane.open("/chat/completions", (), body)
    try:
        return reply.status, await reply.read()
    finally:
        reply.close()


def self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "c.pem", folder / "k.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    name = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", *options, *name, *files], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
async def lanes() -> AsyncIterator[Callable[..., EngineHttpClient]]:
    made: list[EngineHttpClient] = []

    def make(url: str, key: str | None = None) -> EngineHttpClient:
        made.append(EngineHttpClient(url, key))
        return made[-1]

    yield make
    for lane in made:
        await lane.close()


async def test_a_request_has_path_key_length_and_the_headers_that_may_pass(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(PLAIN)) as engine:
        lane = lanes(engine.url, "secret")
        headers = [(b"x-session-id", b"7"), (b"authorization", b"Bearer ask-1"), (b"te", b"gzip")]
        reply = await lane.open("/chat/completions", headers, b'{"a":1}')
        assert (reply.status, await reply.read()) == (200, b"ok")
        reply.close()
    head, _, body = engine.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"authorization: Bearer secret\r\n" in head
    assert b"x-session-id: 7\r\n" in head
    assert b"ask-1" not in head
    assert b"te: gzip" not in head
    assert body == b'{"a":1}'


async def test_a_header_with_a_line_break_is_refused(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    with pytest.raises(ValueError, match="line break"):
        await lanes("http://127.0.0.1:9/v1").open("/x", [(b"a", b"b\r\nc: d")], b"")


async def test_a_connection_is_used_again(lanes: Callable[..., EngineHttpClient]) -> None:
    async with running(says(PLAIN)) as engine:
        lane = lanes(engine.url)
        for _ in range(5):
            assert await ask(lane) == (200, b"ok")
        assert engine.connections == 1


async def test_requests_at_the_same_time_have_a_connection_each(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(PLAIN, pause=0.05)) as engine:
        lane = lanes(engine.url)
        assert await asyncio.gather(*(ask(lane) for _ in range(8))) == [(200, b"ok")] * 8
        assert engine.connections == 8


async def test_a_kept_connection_that_is_dead_is_replaced_once(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    """As llama.cpp does: keep-alive is announced, and the connection closed at the next request."""

    def make(engine: Engine) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await engine.request(reader)
            writer.write(PLAIN)
            await engine.request(reader)

        return talk

    async with running(make) as engine:
        lane = lanes(engine.url)
        for _ in range(3):
            assert await ask(lane) == (200, b"ok")
        assert engine.connections == 3


async def test_a_fresh_connection_that_dies_is_not_tried_again(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(then="close")) as engine:
        with pytest.raises(Unreachable):
            await ask(lanes(engine.url))
        assert engine.connections == 1


async def test_a_kept_connection_that_breaks_within_the_answer_is_not_tried_again(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    def make(engine: Engine) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await engine.request(reader)
            writer.write(PLAIN)
            await engine.request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n")

        return talk

    async with running(make) as engine:
        lane = lanes(engine.url)
        assert await ask(lane) == (200, b"ok")
        with pytest.raises(BrokenOff):
            await ask(lane)
        assert engine.connections == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(EVENTS + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", id="chunked"),
        pytest.param(EVENTS + b"3;x=y\r\nabc\r\n0\r\nx-t: 1\r\n\r\n", b"abc", id="trailers"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, b"ok", id="100"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 2 + PLAIN, b"ok", id="103"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="204"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", id="empty"),
    ],
)
async def test_bodies_of_every_framing_are_read_and_the_connection_kept(
    answer: bytes, body: bytes, lanes: Callable[..., EngineHttpClient]
) -> None:
    async with running(says(answer)) as engine:
        lane = lanes(engine.url)
        for _ in range(2):
            assert (await ask(lane))[1] == body
        assert engine.connections == 1


async def test_a_body_that_ends_with_the_connection_is_complete(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(b"HTTP/1.1 200 OK\r\n\r\n", b"abc", b"def", then="close")) as engine:
        assert await ask(lanes(engine.url)) == (200, b"abcdef")


@given(st.lists(st.integers(1, 110), max_size=6))
def test_an_answer_may_come_in_any_pieces(cuts: list[int]) -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + EVENTS + b"3\r\nabc\r\n2\r\nde\r\n0\r\na: b\r\n\r\n"
    edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    pieces = [answer[a:b] for a, b in itertools.pairwise(edges)]

    async def main() -> None:
        async with running(says(*pieces)) as engine:
            lane = EngineHttpClient(engine.url)
            try:
                assert await ask(lane) == (200, b"abcde")
            finally:
                await lane.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(EVENTS + b"3\r\nabc\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", id="length"),
    ],
)
async def test_what_came_before_a_break_is_read_and_the_break_has_a_name(
    answer: bytes, lanes: Callable[..., EngineHttpClient]
) -> None:
    async with running(says(answer, then="close")) as engine:
        reply = await lanes(engine.url).open("/x", (), b"")
        chunks = reply.chunks()
        assert await anext(chunks) == b"abc"
        with pytest.raises(BrokenOff):
            await anext(chunks)
        reply.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="ssh"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", id="101"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"a" * MAX_HEAD + b"\r\n\r\n", id="long header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * MAX_HEAD, id="many headers"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n", id="both"
        ),
        pytest.param(EVENTS + b"0\r\n" + b"a: bcdefgh\r\n" * 30_000, id="trailers without end"),
        pytest.param(EVENTS + b"zz\r\n", id="bad chunk"),
    ],
)
async def test_an_answer_that_is_not_proper_http_is_refused(
    answer: bytes, lanes: Callable[..., EngineHttpClient]
) -> None:
    async with running(says(answer)) as engine:
        with pytest.raises(BrokenOff):
            await ask(lanes(engine.url))


async def test_what_nobody_asked_for_closes_the_connection(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(PLAIN, PLAIN, pause=0.02)) as engine:
        lane = lanes(engine.url)
        assert await ask(lane) == (200, b"ok")
        await asyncio.sleep(0.1)
        assert await ask(lane) == (200, b"ok")
        assert engine.connections == 2


async def test_two_answers_at_once_are_no_answer_to_the_next_request(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(PLAIN + PLAIN.replace(b"ok", b"no"))) as engine:
        lane = lanes(engine.url)
        assert await ask(lane) == (200, b"ok")
        assert await ask(lane) == (200, b"ok")
        assert engine.connections == 2


async def test_an_engine_that_refuses_is_unreachable(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(PLAIN)) as engine:
        url = engine.url
    with pytest.raises(Unreachable):
        await ask(lanes(url))


async def test_an_engine_that_does_not_accept_is_given_up_after_250_ms(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    with socket.socket() as listener, socket.socket() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting.connect(listener.getsockname())  # the queue is full: the next one hangs
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no connection in time"):
            await ask(lanes(f"http://127.0.0.1:{listener.getsockname()[1]}/v1"))
        # The system itself would go on for minutes.
        assert 0.2 < time.monotonic() - began < 60


async def test_a_process_that_was_held_up_does_not_take_its_engine_for_away(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(PLAIN)) as engine:
        asyncio.get_running_loop().call_soon(time.sleep, 0.4)  # while it connects
        assert await ask(lanes(engine.url)) == (200, b"ok")


async def test_a_process_that_is_held_up_all_the_time_connects_all_the_same(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    """Each turn of the event loop takes longer than a connection may."""
    loop = asyncio.get_running_loop()
    holding = True

    def hold_up() -> None:
        time.sleep(CONNECT_S * 1.2)
        if holding:
            loop.call_soon(hold_up)

    async with running(says(PLAIN)) as engine:
        loop.call_soon(hold_up)
        try:
            assert await ask(lanes(engine.url)) == (200, b"ok")
        finally:
            holding = False


async def test_an_error_of_the_engine_is_not_taken_for_a_client_that_left() -> None:
    assert not issubclass(LaneError, ConnectionError)


@pytest.mark.parametrize(
    ("status", "text", "missing"),
    [
        (501, "This server does not support embeddings. Start it with `--embeddings`", True),
        (400, "The model does not support Embeddings API", True),
        (404, "Not Found", True),
        (404, "The model `m` does not exist.", False),
        # A model for embeddings refuses a field.
        (400, "Model 'm' does not support matryoshka representation, changing output", False),
        (400, "Model 'm' does not support Matryoshka embeddings; dimensions must be unset", False),
    ],
)
def test_an_endpoint_that_an_engine_lacks_is_told_from_a_value_that_it_refuses(
    status: int, text: str, missing: bool
) -> None:
    assert dispatch.is_missing(status, json.dumps({"message": text}).encode()) == missing


@pytest.mark.parametrize("url", ["ftp://x/v1", "127.0.0.1:8001", "http://", "http://x:99999/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(AskdocsError, match="base URL"):
        EngineHttpClient(url)


async def test_closing_within_an_answer_lets_the_engine_see_it(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    def make(engine: Engine) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await engine.request(reader)
            writer.write(EVENTS + b"3\r\nabc\r\n")
            await reader.readexactly(1)

        return talk

    async with running(make) as engine:
        reply = await lanes(engine.url).open("/x", (), b"")
        async for _ in reply.chunks():
            break
        reply.close()
        reply.close()
        async with asyncio.timeout(30):
            await engine.left.wait()


async def test_cancelling_before_the_answer_lets_the_engine_see_it(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    def make(engine: Engine) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await engine.request(reader)
            await reader.readexactly(1)

        return talk

    async with running(make) as engine:
        asking = asyncio.create_task(ask(lanes(engine.url)))
        await async_until(lambda: engine.requests)
        asking.cancel()
        async with asyncio.timeout(30):
            await engine.left.wait()


async def test_a_slow_reader_makes_the_engine_wait(lanes: Callable[..., EngineHttpClient]) -> None:
    size = 64 * 2**20

    def make(engine: Engine) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await engine.request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(size // 2**16):
                writer.write(b"x" * 2**16)
                await writer.drain()
                sent.append(2**16)
            await reader.readexactly(1)

        return talk

    sent: list[int] = []
    async with running(make) as engine:
        reply = await lanes(engine.url).open("/x", (), b"")
        await asyncio.sleep(0.3)
        assert reply._connection._waiting_bytes < HIGH_WATER + 2**19
        assert sum(sent) < size // 2  # what the kernel holds for both sides is a few MB
        assert len(await reply.read()) == size
        reply.close()


async def pumped(lane: EngineHttpClient, full: int = 0) -> tuple[list[bytes], bytes, int]:
    """What a pump wrote, what it returned, and how often it waited for a writer that was full."""
    reply = await lane.open("/x", (), b"")
    seen: list[bytes] = []
    waits = 0

    def write(data: bytes) -> bool:
        seen.append(data)
        return len(seen) > full

    async def drain() -> None:
        nonlocal waits
        waits += 1
        await asyncio.sleep(0.05)

    try:
        return seen, await reply.pump(write, drain), waits
    finally:
        reply.close()


async def test_a_pump_writes_what_comes_and_returns_what_came_with_the_end(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    parts = (EVENTS, b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n0\r\n\r\n")
    async with running(says(*parts, pause=0.02)) as engine:
        lane = lanes(engine.url)
        for _ in range(2):
            assert await pumped(lane) == ([b"a", b"b"], b"c", 0)
        assert engine.connections == 1


async def test_a_pump_waits_for_a_writer_that_is_full(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    parts = [b"1\r\n%c\r\n" % letter for letter in b"abcdefgh"]
    async with running(says(EVENTS, *parts, b"0\r\n\r\n", pause=0.01)) as engine:
        seen, rest, waits = await pumped(lanes(engine.url), full=3)
    assert b"".join(seen) + rest == b"abcdefgh"
    assert waits >= 1


async def test_a_pump_with_a_full_writer_makes_the_engine_wait(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    parts = [b"10000\r\n" + b"x" * 2**16 + b"\r\n"] * 200
    async with running(says(EVENTS, *parts, b"0\r\n\r\n")) as engine:
        seen, rest, waits = await pumped(lanes(engine.url), full=4)
    assert len(b"".join(seen) + rest) == 200 * 2**16
    assert waits >= 1


async def test_a_pump_writes_what_came_before_a_break(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(EVENTS, b"1\r\na\r\n", then="close", pause=0.02)) as engine:
        reply = await lanes(engine.url).open("/x", (), b"")
        seen: list[bytes] = []

        def write(data: bytes) -> bool:
            seen.append(data)
            return True

        async def drain() -> None:
            raise AssertionError

        with pytest.raises(BrokenOff):
            await reply.pump(write, drain)
        assert seen == [b"a"]
        reply.close()


async def test_an_engine_behind_tls_is_asked_with_a_checked_certificate(
    lanes: Callable[..., EngineHttpClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with running(says(PLAIN), tls) as engine:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(lanes(engine.url))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        lane = lanes(engine.url)
        for _ in range(2):
            assert await ask(lane) == (200, b"ok")


async def test_an_engine_that_falls_silent_is_left_when_it_answers_nothing_else(
    lanes: Callable[..., EngineHttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SILENT_S", 0.3)
    monkeypatch.setattr(client_module, "PROBE_S", 0.3)
    async with running(_nothing) as silent:
        lane = lanes(silent.url)
        with pytest.raises(Silent, match="not a byte"):
            await asyncio.wait_for(ask(lane), 20)
    begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
    async with running(_begins(begun)) as broken:
        lane = lanes(broken.url)
        with pytest.raises(BrokenOff, match="not a byte"):
            await asyncio.wait_for(ask(lane), 20)


async def test_an_engine_that_reads_for_long_is_waited_for_as_long_as_it_lives(
    lanes: Callable[..., EngineHttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SILENT_S", 0.1)

    def slow(engine: Engine) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST"):
                await asyncio.sleep(1)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            await writer.drain()

        return talk

    async with running(slow) as busy:
        assert await ask(lanes(busy.url)) == (200, b"{}")


async def test_a_connection_that_was_quiet_for_long_is_not_used_again(
    lanes: Callable[..., EngineHttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "IDLE_S", 0.0)
    async with running(says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")) as kept:
        lane = lanes(kept.url)
        for _ in range(3):
            assert await ask(lane) == (200, b"{}")
        assert kept.connections == 3


def _nothing(_: Engine) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass

    return talk


def _begins(data: bytes) -> Callable[[Engine], Talk]:
    """Says that to a request over the first connection, and nothing over any other."""

    def make(engine: Engine) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65536):
                if engine.connections == 1:
                    writer.write(data)

        return talk

    return make


# An answer that is read through something


async def test_what_is_made_of_an_answer_is_read_and_nothing_else(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    """Every third letter is passed on, with the two before it."""
    held = b""

    def threes(data: bytes) -> bytes:
        nonlocal held
        held += data
        made, held = held[: len(held) // 3 * 3], held[len(held) // 3 * 3 :]
        return made.upper()

    parts = [b"1\r\n%c\r\n" % letter for letter in b"abcdefgh"]
    async with running(says(EVENTS + parts[0], *parts[1:], b"0\r\n\r\n", pause=0.02)) as engine:
        reply = await lanes(engine.url).open("/x", (), b"")
        assert [made async for made in reply.through(threes)] == [b"ABC", b"DEF"]
        reply.close()
    assert held == b"gh"


async def test_what_breaks_off_says_so_to_who_reads_through_something(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    async with running(says(EVENTS, b"1\r\na\r\n", then="close", pause=0.02)) as engine:
        reply = await lanes(engine.url).open("/x", (), b"")
        with pytest.raises(BrokenOff):
            assert [made async for made in reply.through(lambda _: b"")] == []


async def test_an_answer_that_waited_whole_for_its_reader_is_read_on(
    lanes: Callable[..., EngineHttpClient],
) -> None:
    """The engine was made to wait before it was read through something that holds all back."""
    parts = [b"4000\r\n%b\r\n" % (b"x" * 0x4000)] * 20
    async with running(says(EVENTS, *parts, b"0\r\n\r\n")) as engine:
        reply = await lanes(engine.url).open("/x", (), b"")
        await async_until(lambda: reply._connection._paused)  # more comes than is kept
        seen = 0

        def count(data: bytes) -> bytes:
            nonlocal seen
            seen += len(data)
            return b""

        async with asyncio.timeout(60):
            assert [made async for made in reply.through(count)] == []
        assert seen == 20 * 0x4000
        reply.close()


async def test_many_answers_that_are_read_together_stay_apart_and_whole(
    lanes: Callable[..., EngineHttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many that each waits for the next tick; a third of them break off in the middle."""
    monkeypatch.setattr(client_module, "CONNECT_S", 10.0)
    asked = itertools.count()

    def talk(engine: Engine) -> Talk:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await engine.request(reader)
            number = next(asked)
            writer.write(EVENTS)
            for part in range(20):
                if number % 3 == 0 and part == 10:
                    return
                said = b"%d.%d " % (number, part)
                writer.write(b"%x\r\n%b\r\n" % (len(said), said))
                await asyncio.sleep(0.005)
            writer.write(b"0\r\n\r\n")
            await writer.drain()

        return answer

    async def read(lane: EngineHttpClient) -> tuple[bytes, bool]:
        seen = b""

        def feed(data: bytes) -> bytes:
            nonlocal seen
            seen += data
            return data if b".9 " in data else b""

        reply = await lane.open("/chat/completions", (), b"{}")
        try:
            made = b"".join([part async for part in reply.through(feed)])
            ended = True
        except BrokenOff:
            made, ended = b"", False
        reply.close()
        assert made in seen
        return seen, ended

    async with running(talk) as engine:
        lane = lanes(engine.url)
        found = await asyncio.gather(*(read(lane) for _ in range(3 * TOGETHER)))
    for seen, ended in found:
        number = int(seen.split(b".")[0])
        assert ended == (number % 3 != 0)
        assert seen == b"".join(b"%d.%d " % (number, n) for n in range(20 if ended else 10))
    assert len({seen for seen, _ in found}) == 3 * TOGETHER


async def test_an_answer_that_is_left_among_many_is_not_read_on(
    lanes: Callable[..., EngineHttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CONNECT_S", 10.0)
    endless = itertools.repeat(b"1\r\na\r\n", 400)
    too_late = []

    async def read(lane: EngineHttpClient) -> None:
        left = False

        def feed(data: bytes) -> bytes:
            if left:
                too_late.append(data)
            return data

        reply = await lane.open("/x", (), b"")
        async for _ in reply.through(feed):
            await asyncio.sleep(0.1)  # some wait for the next tick by then
            break
        left = True
        reply.close()
        await asyncio.sleep(0.1)

    async with running(says(EVENTS, *endless, pause=0.005)) as engine:
        lane = lanes(engine.url)
        await asyncio.gather(*(read(lane) for _ in range(2 * TOGETHER)))
    assert too_late == []


@pytest.mark.parametrize("status", [b"200 OK", b"500 Failed"])
async def test_of_an_answer_without_end_so_much_is_read(
    status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LARGEST", 10**6)
    head = b"HTTP/1.1 %b\r\ncontent-length: 64000000\r\n\r\n" % status
    served = cast(Served, SimpleNamespace(name="odd", engine=None, client=None))
    asked = cast(Any, None)

    async def whole(reply: LaneReply) -> None:
        opened = await Dispatch(asked, asked)._begun(asked, served, "fast", reply, "odd")
        try:
            await opened.body()
        finally:
            await opened.close()

    async with running(says(head, *[b"x" * 64_000] * 1000)) as engine:
        lane = EngineHttpClient(engine.url)
        with pytest.raises((BrokenOff, dispatch.CandidateFailed)):
            await whole(await lane.open("/chat/completions", (), b"{}"))
        await asyncio.wait_for(engine.left.wait(), 30)
        await lane.close()
