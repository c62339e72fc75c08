"""The server's edge over raw sockets, and its processes."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvicorn

from askdocs.supervision.checks import free_port
from core import tasks
from core.errors import AskdocsError
from core.tasks import Tasks, failures_in
from gateway.runtime import protocol
from gateway.runtime import server as server_module
from gateway.runtime.protocol import MAX_HEAD, Edge
from tests.gateway.served_app import echo

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GET = b"GET /x HTTP/1.1\r\nhost: a\r\n"
POST = b"POST /x HTTP/1.1\r\nhost: a\r\n"


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    """The echo app behind the edge, in this process."""
    config = uvicorn.Config(echo, http=Edge, ws="none", log_level="error", access_log=False)
    running = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    config.port = listener.getsockname()[1]
    task = asyncio.create_task(running._serve([listener]))
    while not running.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    yield running
    running.should_exit = True
    await task


@pytest.fixture
def port(server: uvicorn.Server) -> int:
    return server.config.port


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        if "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        return int(first.split()[1]), headers, body

    async def refusal(self) -> tuple[int, Any]:
        """The status and error of a refusal, after which the connection is closed."""
        status, headers, body = await self.response()
        assert headers["content-type"] == "application/json"
        assert headers["x-request-id"]
        assert headers["connection"] == "close"
        assert await asyncio.wait_for(self.reader.read(), 5) == b""
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return status, error["code"]


@pytest.fixture
async def client(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Client(reader, writer)
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 4, id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"hello\r\n\r\n", id="words"),
        pytest.param(b"GET /\xff\xfe HTTP/1.1\r\n\r\n", id="path that is not ASCII"),
        pytest.param(b"GET / HTTP/1.1\r\nno colon\r\n\r\n", id="header without colon"),
        pytest.param(POST + b"content-length: -1\r\n\r\n", id="negative length"),
        pytest.param(
            POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", id="two lengths"
        ),
        pytest.param(POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n", id="bad chunk"),
    ],
)
async def test_what_is_not_http_gets_a_400_in_openais_shape(data: bytes, client: Client) -> None:
    client.writer.write(data)
    assert await client.refusal() == (400, "invalid_http")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GET + b"a: " + b"x" * MAX_HEAD + b"\r\n\r\n", id="one header"),
        pytest.param(GET + b"a: bc\r\n" * MAX_HEAD, id="headers without end"),
        pytest.param(b"GET /" + b"x" * MAX_HEAD + b" HTTP/1.1\r\n\r\n", id="path"),
        pytest.param(b"GET /" + b"x" * 2 * MAX_HEAD, id="no line end"),
    ],
)
@pytest.mark.parametrize("piece", [2**20, 4000])
async def test_headers_beyond_64_kb_get_a_431(data: bytes, piece: int, client: Client) -> None:
    for start in range(0, len(data), piece):
        client.writer.write(data[start : start + piece])
        await asyncio.sleep(0)
    assert await client.refusal() == (431, "headers_too_large")


async def test_a_large_body_is_not_taken_for_headers(client: Client) -> None:
    body = b"x" * 3 * MAX_HEAD
    client.writer.write(POST + b"content-length: %d\r\n\r\n" % len(body) + body)
    status, _, answer = await client.response()
    assert (status, len(json.loads(answer)["body"])) == (200, len(body))


CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"


@pytest.mark.parametrize("piece", [2**20, 7])
async def test_trailers_of_a_chunked_body_are_no_headers(piece: int, client: Client) -> None:
    trailers = (
        b"authorization: Bearer other\r\nhost: b\r\nx-forwarded-for: 1.2.3.4\r\n"
        b"expect: 100-continue\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    )
    data = CHUNKED + b"0\r\n" + trailers + b"\r\n" + GET + b"\r\n"
    for start in range(0, len(data), piece):
        client.writer.write(data[start : start + piece])
        await asyncio.sleep(0.001)
    status, _, body = await client.response()
    said = json.loads(body)
    assert (status, said["body"]) == (200, "abc")
    assert said["headers"] == {"host": "a", "transfer-encoding": "chunked"}
    assert json.loads((await client.response())[2])["headers"] == {"host": "a"}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"0\r\n" + b"a: bc\r\n" * MAX_HEAD, id="trailers without end"),
        pytest.param(b"0\r\na: " + b"x" * 8 * MAX_HEAD, id="one trailer"),
        pytest.param(b"0\r\n" + b"x" * 8 * MAX_HEAD, id="one trailer's name"),
        pytest.param(b"3;" + b"x" * 8 * MAX_HEAD, id="a chunk's extension"),
    ],
)
async def test_trailers_beyond_64_kb_get_a_431(data: bytes, client: Client) -> None:
    for start in range(0, len(CHUNKED + data), 4000):
        client.writer.write((CHUNKED + data)[start : start + 4000])
        await asyncio.sleep(0)
    assert await client.refusal() == (431, "headers_too_large")


async def test_a_body_in_small_chunks_is_not_taken_for_trailers(client: Client) -> None:
    client.writer.write(CHUNKED)
    for _ in range(40):
        client.writer.write(b"1;%b\r\nx\r\n" % (b"y" * 4000))
        await client.writer.drain()
        await asyncio.sleep(0.001)
    client.writer.write(b"0\r\n\r\n")
    assert json.loads((await client.response())[2])["body"] == "abc" + "x" * 40


async def test_headers_that_trickle_get_a_408(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    began = time.monotonic()
    trickle = asyncio.create_task(_trickle(client.writer))
    assert await client.refusal() == (408, "headers_too_slow")
    assert 0.25 < time.monotonic() - began < 60
    trickle.cancel()
    client.writer.close()


async def _trickle(writer: asyncio.StreamWriter) -> None:
    for byte in GET + b"a: b\r\n" * 100:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)


async def test_headers_of_a_later_request_may_not_trickle_either(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    for _ in range(2):
        client.writer.write(GET + b"\r\n")
        assert (await client.response())[0] == 200
    await asyncio.sleep(0.4)  # a quiet connection is kept
    client.writer.write(GET)
    assert await client.refusal() == (408, "headers_too_slow")
    client.writer.close()


async def test_a_connection_that_never_says_a_byte_is_closed(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()


async def test_an_answer_that_takes_longer_than_headers_may_is_not_cut(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    client.writer.write(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n" + GET)
    status, _, body = await client.response()
    assert (status, json.loads(body)["path"]) == (200, "/slow")
    assert await client.refusal() == (408, "headers_too_slow")
    client.writer.close()


async def test_nothing_is_written_into_an_answer_under_way(client: Client) -> None:
    client.writer.write(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
    await client.reader.readuntil(b"\r\n\r\n")
    client.writer.write(b"\x00\x01 not http\r\n\r\n")
    rest = await asyncio.wait_for(client.reader.read(), 60)
    assert b"HTTP/1.1" not in rest


async def test_nothing_is_written_into_the_answer_to_a_request_before(client: Client) -> None:
    ahead = POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n"
    client.writer.write(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n" + ahead)
    rest = await asyncio.wait_for(client.reader.read(), 60)
    assert b"HTTP/1.1 4" not in rest


async def test_the_writer_puts_parts_between_start_and_end(client: Client) -> None:
    client.writer.write(b"GET /written HTTP/1.1\r\nhost: a\r\n\r\n")
    status, _, body = await client.response()
    assert (status, body) == (200, b"first" + b"0123456789" * 100 + b"end")
    client.writer.write(GET + b"\r\n")
    assert (await client.response())[0] == 200


async def test_a_client_that_does_not_read_blocks_the_writer_until_it_does(client: Client) -> None:
    client.writer.write(b"GET /flood HTTP/1.1\r\nhost: a\r\n\r\n")
    await asyncio.sleep(0.3)
    _, _, body = await client.response()
    asked, _, blocks = body.strip(b"x").partition(b" ")
    assert len(body) > 2**25
    assert int(asked) == 2**10
    assert int(blocks) > 0


@pytest.mark.parametrize("ahead", [1, 3])
async def test_a_whole_response_is_written_in_one_call(client: Client, ahead: int) -> None:
    whole = GET.replace(b"/x", b"/whole") + b"\r\n"
    for _ in range(2):
        client.writer.write(whole * ahead)
        for number in range(ahead):
            status, headers, body = await client.response()
            assert (status, body, headers["x-value"]) == (200, b"whole", "a")
            assert ("x-how" in headers) == (number < ahead - 1)  # uvicorn's, while others wait
            assert headers["date"]


@pytest.mark.parametrize(
    ("request_", "closes"),
    [
        (GET.replace(b"/x", b"/whole/wrapped"), False),
        (GET.replace(b"/x", b"/whole") + b"connection: close\r\n", True),
        (GET.replace(b"/x HTTP/1.1", b"/whole HTTP/1.0"), True),
    ],
)
async def test_what_is_no_plain_response_is_left_to_uvicorn(
    client: Client, request_: bytes, closes: bool
) -> None:
    client.writer.write(request_ + b"\r\n")
    status, headers, body = await client.response()
    assert (status, body, headers["x-how"]) == (200, b"whole", "asgi")
    if closes:
        assert await asyncio.wait_for(client.reader.read(), 60) == b""


async def test_a_whole_response_to_head_has_no_body(client: Client) -> None:
    client.writer.write(b"HEAD /whole HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    answer = await asyncio.wait_for(client.reader.read(), 60)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


async def test_no_value_of_a_whole_response_begins_another_header(client: Client) -> None:
    client.writer.write(GET.replace(b"/x", b"/whole/cut") + b"\r\n")
    answer = await asyncio.wait_for(client.reader.read(), 60)
    assert answer == b""  # uvicorn closes the connection


async def test_requests_may_be_sent_ahead(client: Client) -> None:
    client.writer.write((POST + b"content-length: 1\r\n\r\n1") * 3)
    assert [(await client.response())[0] for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("piece", [2**16, 41])
async def test_a_wish_for_http_2_is_ignored_and_the_body_read(piece: int, client: Client) -> None:
    """Java's HttpClient sends this with every request."""
    data = (
        POST
        + b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
        b"Upgrade: h2c\r\nContent-Length: 14\r\n\r\n\r\nupgrade: me\r\n"[: 14 + 200]
    )
    data = data.replace(b"Content-Length: 14", b"Content-Length: 15")
    for start in range(0, len(data), piece):
        client.writer.write(data[start : start + piece])
        await asyncio.sleep(0.01)
    status, _, body = await client.response()
    assert (status, json.loads(body)["body"]) == (200, "\r\nupgrade: me\r\n")


HEAD = (
    POST + b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAMAAABk\r\n"
    b"UPGRADE: h2c\r\ncontent-length: 3\r\n\r\n"
)


async def test_a_wish_for_http_2_may_be_cut_at_any_byte(port: int) -> None:
    data = HEAD + b"abc"
    for cut in range(HEAD.index(b"http2-settings:"), len(data)):
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        client.writer.write(data[:cut])
        await asyncio.sleep(0.01)
        client.writer.write(data[cut:] + b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n")
        status, _, body = await client.response()
        said = json.loads(body)
        assert (status, said["body"]) == (200, "abc"), cut
        assert said["headers"]["http2-settings"] == "AAMAAABk"
        assert "upgrade" not in said["headers"]
        assert json.loads((await client.response())[2])["path"] == "/next"
        client.writer.close()


async def test_a_body_that_trickles_gets_a_408(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "BODY_S", 0.3)
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    client.writer.write(POST + b"content-length: 100\r\n\r\n")
    trickle = asyncio.create_task(_trickle(client.writer))
    assert await client.refusal() == (408, "request_timeout")
    trickle.cancel()
    client.writer.close()


async def test_a_body_may_not_trickle_behind_its_answer(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "BODY_S", 0.3)
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    client.writer.write(b"POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")
    assert (await client.response())[0] == 200
    trickle = asyncio.create_task(_trickle(client.writer))
    assert await asyncio.wait_for(client.reader.read(), 60) == b""
    trickle.cancel()
    client.writer.close()


async def test_blank_lines_do_not_keep_a_quiet_connection(server: uvicorn.Server) -> None:
    server.config.timeout_keep_alive = 0.3  # type: ignore[assignment]
    client = Client(*await asyncio.open_connection("127.0.0.1", server.config.port))
    client.writer.write(GET + b"\r\n")
    assert (await client.response())[0] == 200
    blank = asyncio.create_task(_blank(client.writer))
    with suppress(ConnectionResetError):  # a blank line was on its way
        assert await asyncio.wait_for(client.reader.read(), 60) == b""
    blank.cancel()
    client.writer.close()


async def _blank(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"\r\n")
        await asyncio.sleep(0.02)


@contextmanager
def serving(
    factory: str, workers: int, port: int, stderr: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")}
    env |= {
        "PYTHONPATH": str(ROOT),
        "ASKDOCS_GATEWAY_PORT": str(port),
        "ASKDOCS_GATEWAY_WORKERS": str(workers),
        "ASKDOCS_REDIS_URL": "redis://127.0.0.1:1/0",
    }
    command = [sys.executable, "-m", "tests.gateway.served_app", factory]
    process = subprocess.Popen(command, env=env, stderr=stderr, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def get(port: int, path: str = "/x") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def wait_for(port: int, process: "subprocess.Popen[str]") -> Any:
    deadline = time.monotonic() + 60
    while True:
        try:
            return get(port)
        except OSError:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_lets_answers_end_and_exits_cleanly(workers: int) -> None:
    port = free_port()
    with serving("create", workers, port) as process:
        wait_for(port, process)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/slow")
        answer = connection.getresponse()  # it has begun
        process.send_signal(signal.SIGTERM)
        assert json.loads(answer.read())["path"] == "/slow"
        connection.close()
        process.wait(60)
    assert process.returncode in (0, -signal.SIGTERM)


def test_several_workers_share_the_port_and_one_that_dies_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".askdocs").mkdir()
    port = free_port()
    with serving("create", 2, port) as process:
        wait_for(port, process)
        deadline = time.monotonic() + 120
        seen: set[int] = set()
        while len(seen) < 2 and time.monotonic() < deadline:
            seen.add(get(port)["pid"])
        assert len(seen) == 2
        dead = seen.pop()
        os.kill(dead, signal.SIGKILL)
        while time.monotonic() < deadline:
            workers = psutil.Process(process.pid).children()
            alive = [p for p in workers if p.pid != dead and _serves(p)]
            if len(alive) == 2:
                break
            time.sleep(0.1)
        assert len(alive) == 2
        assert get(port)["path"] == "/x"
        process.terminate()
        assert f"worker failed (process {dead} ended, exit code -9)" in process.communicate()[1]
    assert [one[:3] for one in failures_in(tmp_path / ".askdocs")] == [("gateway", "worker", 1)]


def test_a_worker_that_cannot_be_forked_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.0)
    kept = Tasks()
    config = uvicorn.Config(echo)
    with socket.socket() as listener:
        workers = server_module._Workers(config, listener, 2, None, kept)
        left: list[Any] = ["the other one"]
        starts = iter([BlockingIOError("no process to be had"), "a new one"])

        def start() -> Any:
            started = next(starts)
            if isinstance(started, OSError):
                raise started
            return started

        monkeypatch.setattr(workers, "start", start)
        workers._replace_later(AskdocsError("killed"), 0.0)
        workers._replace(left)
        assert (left, kept.failing) == (["the other one"], ["worker"])
        monkeypatch.setattr(time, "monotonic", lambda: sys.float_info.max)
        workers._replace(left)
        workers._replace(left)
    assert left == ["the other one", "a new one"]


@pytest.mark.parametrize("renew", [None, print], ids=["worker", "preparation"])
def test_workers_stay_where_no_process_is_to_be_had_for_a_renewal(
    renew: server_module.Renew | None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def refused(*_: object) -> None:
        raise BlockingIOError("no process to be had")

    monkeypatch.setattr(server_module._spawn.Process, "start", refused)
    left: list[Any] = ["one", "another"]
    with socket.socket() as listener:
        workers = server_module._Workers(uvicorn.Config(echo), listener, 2, renew, Tasks())
        renewal = server_module._Renewal(workers, left, renew)
        assert renewal.is_over()
    assert (left, renewal.processes) == (["one", "another"], [])
    said = capfd.readouterr().err
    assert "no process to be had" in said
    assert "The remaining workers continue unchanged" in said


def _serves(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def test_workers_end_when_their_parent_is_killed() -> None:
    port = free_port()
    with serving("create", 2, port) as process:
        wait_for(port, process)
        workers = [p for p in psutil.Process(process.pid).children() if _serves(p)]
        process.kill()
        gone, alive = psutil.wait_procs(workers, timeout=60)
    assert (len(gone), alive) == (2, [])


def both_answer(port: int, process: "subprocess.Popen[str]") -> set[int]:
    """Waits for both workers, and returns their process ids."""
    wait_for(port, process)
    deadline = time.monotonic() + 60
    seen: set[int] = set()
    while len(seen) < 2:
        assert time.monotonic() < deadline
        seen.add(get(port)["pid"])
    return seen


def test_a_hangup_replaces_all_workers_and_no_request_fails() -> None:
    port = free_port()
    with serving("create", 2, port) as process:
        before = both_answer(port, process)
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        slow = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        seen: set[int] = set()
        closed = last = 0
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while len(seen - before) < 2 or last in {0, *before}:
            assert time.monotonic() < deadline
            slow.request("GET", "/slow")
            kept.request("GET", "/x")  # on a connection that stays open as long as it may
            answer = kept.getresponse()
            last = json.loads(answer.read())["pid"]
            seen.add(last)
            closed += answer.getheader("connection") == "close"
            seen.add(json.loads(slow.getresponse().read())["pid"])
            slow.close()
            seen.add(get(port)["pid"])
        kept.close()
        assert closed >= 1  # its client was told, and did not run into a closed connection
        gone = psutil.wait_procs([psutil.Process(pid) for pid in before if psutil.pid_exists(pid)])
        assert not gone[1]
        assert len([p for p in psutil.Process(process.pid).children() if _serves(p)]) == 2


def test_one_worker_alone_ignores_a_hangup_and_says_what_to_set() -> None:
    port = free_port()
    with serving("create", 1, port) as process:
        pid = wait_for(port, process)["pid"]
        slow = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        slow.request("GET", "/slow")
        answer = slow.getresponse()  # it has begun
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        assert "set ASKDOCS_GATEWAY_WORKERS=2" in process.stderr.readline()
        assert json.loads(answer.read())["pid"] == pid
        slow.close()
        assert get(port)["pid"] == pid


def test_one_worker_outlives_its_terminal() -> None:
    """Where nothing can be written any more."""
    port = free_port()
    ours, terminal = os.openpty()
    with serving("create", 1, port, stderr=terminal) as process:
        pid = wait_for(port, process)["pid"]
        os.close(terminal)
        os.close(ours)
        for _ in range(10):  # wherever it comes
            process.send_signal(signal.SIGHUP)
            assert get(port)["pid"] == pid


def test_a_worker_that_cannot_start_leaves_the_old_ones_at_work(tmp_path: Path) -> None:
    port = free_port()
    broken = tmp_path / "broken"
    with serving(f"create_unless:{broken}", 2, port) as process:
        before = both_answer(port, process)
        broken.touch()
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(2)]
        assert "it is broken" in said[0]
        assert "a new worker could not start" in said[1]
        assert {p.pid for p in psutil.Process(process.pid).children() if _serves(p)} == before
        assert get(port)["path"] == "/x"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("factory", "why"),
    [("create_refused", "the engine has no name"), ("create_failing", "no database")],
)
def test_a_worker_that_cannot_start_ends_the_whole_with_its_error(
    factory: str, why: str, workers: int
) -> None:
    with serving(factory, workers, free_port()) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert why in errors
    assert errors.splitlines()[-1].startswith("gateway: ")
    assert "Traceback" not in errors


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_is_named_with_the_fix(workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving("create", workers, port) as process:
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"127.0.0.1:{port}: cannot listen there (Address already in use)" in errors
    assert "ASKDOCS_GATEWAY_PORT" in errors
