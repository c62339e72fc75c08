"""Whatever comes in, the gateway answers with an error in OpenAI's shape, and goes on answering.

A real gateway before the real engine, asked over raw sockets where HTTP clients would refuse. Never
a 500, never silence.
"""

import contextlib
import gzip
import http.client
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from tests import starting
from tests.gateway.test_schemas import GOOD, OTHERS, TOOL, USER, WRONG

pytestmark = pytest.mark.slow

KEY = starting.KEY
CONTEXT = 2048  # of the engine in conftest.py
CHAT = "/v1/chat/completions"
REFUSED = range(400, 500)
# Seconds that a client may take to send nothing: more than what edge.py and http.py allow.
PATIENCE = 45


@dataclass
class Gateway:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def post(self, path: str, body: Any, **headers: str) -> "Response":
        """`body` is bytes as they are, or a value for JSON, with what JSON itself has not."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content-type": "application/json", "content-length": str(len(data)), **headers}
        return self.send(request("POST", path, given) + data)

    def send(self, raw: bytes, *, timeout: float = 30) -> "Response":
        """The one response to these bytes."""
        with self.connection(timeout) as connection:
            # A server may answer and hang up before it has read all.
            with contextlib.suppress(ConnectionError):
                connection.sendall(raw)
            return read(connection)

    def connection(self, timeout: float = 30) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)


@dataclass
class Response:
    status: int
    headers: Message
    body: bytes
    method: str = field(default="POST")

    @property
    def error(self) -> dict[str, Any]:
        return dict(json.loads(self.body)["error"])


def request(method: str, path: str, headers: dict[str, str] | None = None) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: localhost",
        *[f"{name}: {value}" for name, value in (headers or {}).items()],
    ]
    if "authorization" not in (headers or {}):
        lines.append(f"authorization: Bearer {KEY}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read(connection: socket.socket, method: str = "POST") -> Response:
    reply = http.client.HTTPResponse(connection, method=method)
    reply.begin()
    return Response(reply.status, reply.headers, reply.read(), method)


def refused(response: Response, statuses: Any = REFUSED) -> dict[str, Any]:
    """The error, which has OpenAI's shape."""
    assert response.status in statuses, (response.status, response.body[:500])
    assert response.headers["x-request-id"], response.headers.items()
    assert response.headers["content-type"].startswith("application/json")
    error = response.error
    assert set(error) == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    return error


@contextlib.contextmanager
def running(folder: Path, **variables: str) -> Iterator[Gateway]:
    with starting.gateway(folder, port=None, ready=True, **variables) as started:
        gateway = Gateway(started.port, started.process, started.log)
        yield gateway
        # What a client sends is no reason for a failure of ours.
        assert re.findall(r"request \S+ failed", gateway.log.read_text(errors="replace")) == []


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory, engine_url: str) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("fast")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "coffee.md").write_text("# Coffee\n\n## Where is it?\n\nIt stands in the kitchen.\n")
    with running(folder, gateway_engine_url=engine_url, gateway_docs=str(docs)) as gateway:
        yield gateway


@pytest.fixture
def gateway(fast: Gateway) -> Iterator[Gateway]:
    yield fast
    assert_answers(fast)


def assert_answers(gateway: Gateway) -> None:
    assert gateway.process.poll() is None, gateway.log.read_text(errors="replace")[-3000:]
    response = gateway.post(CHAT, {"model": "base", "messages": [USER], "max_tokens": 1})
    assert response.status == 200, response.body
    assert response.headers["x-request-id"]
    assert json.loads(response.body)["choices"][0]["message"]["role"] == "assistant"


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"model": "base"',
        b"{'model': 'base'}",
        b'{"model": "base",}',
        b"model=base&messages=hi",
        b"<xml/>",
        b"[]",
        b"null",
        b'"base"',
        b"5",
        b"true",
        b'{"model": "base\xff"}',
        b'\xc3{"model": "base"}',
        b"\x00" * 100,
        b'{"model": "ba\x00se"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"model": "base", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"max_tokens": ' + b"9" * 5000 + b"}",
        gzip.compress(b'{"model": "base"}', mtime=0),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_body_that_is_no_json_object_is_refused(gateway: Gateway, body: bytes) -> None:
    refused(gateway.post(CHAT, body), (400,))


@pytest.mark.parametrize("endpoint", GOOD)
def test_every_endpoint_refuses_a_missing_body(gateway: Gateway, endpoint: str) -> None:
    refused(gateway.send(request("POST", f"/v1{endpoint}")), (400,))
    refused(gateway.send(request("POST", f"/v1{endpoint}", {"content-length": "0"})), (400,))
    refused(gateway.post(f"/v1{endpoint}", {}), (400,))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["temperature", "unheard_of"])
def test_a_number_that_json_does_not_have_is_refused(
    gateway: Gateway, name: str, text: str
) -> None:
    body = json.dumps({"model": "base", "messages": [USER], "max_tokens": 1})
    refused(gateway.post(CHAT, f'{body[:-1]}, "{name}": {text}}}'.encode()), (400,))


def test_a_body_of_20_mb_is_refused(gateway: Gateway) -> None:
    body = {"model": "base", "messages": [{"role": "user", "content": "x" * 20_000_000}]}
    error = refused(gateway.post(CHAT, body), (413,))
    assert "8388608" in error["message"].replace(",", "")


def test_a_body_that_would_be_too_large_is_not_asked_for(gateway: Gateway) -> None:
    with gateway.connection() as connection:
        expecting = {"expect": "100-continue", "content-length": "20000000"}
        connection.sendall(request("POST", CHAT, expecting))
        refused(read(connection), (413,))  # and no 100 before it


def test_a_compressed_body_is_refused_as_such(gateway: Gateway) -> None:
    body = gzip.compress(json.dumps({"model": "base", "messages": [USER]}).encode())
    error = refused(gateway.post(CHAT, body, **{"content-encoding": "gzip"}), (415,))
    assert "gzip" in error["message"]


def test_a_chunked_body_of_20_mb_is_refused_before_it_is_read(gateway: Gateway) -> None:
    with gateway.connection() as connection:
        connection.sendall(request("POST", CHAT, {"transfer-encoding": "chunked"}))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for _ in range(20_000_000 // 0x10000):
                connection.sendall(chunk)
        refused(read(connection), (413,))


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"model": "base", "max_tokens": 1, "messages": '
        b'[{"role": "user", "content": "hi"}]}',
        json.dumps({**GOOD["/chat/completions"], "max_tokens": 1}).encode("utf-16"),
        b'{"model": "no", "model": "base", "messages": [], "messages": '
        b'[{"role": "user", "content": "hi"}], "max_tokens": 1}',
        *(
            b'{"model": "base", "max_tokens": 1, "messages": [{"role": "user", "content": '
            + content
            + b"}]"
            + more
            + b"}"
            for content, more in [
                (rb'"\ud800"', b""),
                (rb'"\udc00\ud800 \ud83d\ude00"', b""),
                (rb'"a\u0000b"', b""),
                (b'"hi"', b', "big": ' + b"9" * 70),
                (b'"hi"', b', "big": -' + b"9" * 4000),
                (b'"hi"', b', "small": 1e-9999, "huge": 1e9999'),
                (rb'"hi"', rb', "\ud800": "\ud800"'),
                *((b'"hi"', b', "deep": ' + b"[" * n + b"]" * n) for n in (200, 300, 800, 990)),
                *((b'"hi"', b', "deep": ' + b'{"a":' * n + b"1" + b"}" * n) for n in (200, 990)),
            ]
        ),
    ],
    ids=lambda body: repr(body[-40:]),
)
def test_what_json_may_hold_and_engines_may_not_is_answered_or_refused(
    gateway: Gateway, body: bytes
) -> None:
    response = gateway.post(CHAT, body)
    if response.status != 200:
        refused(response)


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=x"]
)
def test_the_type_that_a_body_claims_does_not_matter(gateway: Gateway, kind: str) -> None:
    """curl says that its data is a form."""
    body = {"model": "base", "messages": [USER], "max_tokens": 1}
    data = json.dumps(body).encode()
    headers = {"content-length": str(len(data)), **({"content-type": kind} if kind else {})}
    response = gateway.send(request("POST", CHAT, headers) + data)
    assert response.status == 200, response.body


def test_a_form_is_refused(gateway: Gateway) -> None:
    boundary = b"--x\r\ncontent-disposition: form-data; name=model\r\n\r\nbase\r\n--x--\r\n"
    kind = {"content-type": "multipart/form-data; boundary=x"}
    refused(gateway.post(CHAT, boundary, **kind), (400,))


# Fields


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG for v in values])
def test_a_wrong_field_of_a_chat_is_named(gateway: Gateway, name: str, value: Any) -> None:
    body = {"model": "base", "messages": [USER], "max_tokens": 1, name: value}
    error = refused(gateway.post(CHAT, body), (400,))
    if value == value and value not in (float("inf"), -float("inf")):  # JSON has none of these
        assert error["param"] == name
        assert name in error["message"]


@pytest.mark.parametrize(
    ("endpoint", "name", "value"), [(e, n, v) for e, n, values in OTHERS for v in values]
)
def test_a_wrong_field_elsewhere_is_named(
    gateway: Gateway, endpoint: str, name: str, value: Any
) -> None:
    error = refused(
        gateway.post(f"/v1{endpoint}", {**GOOD[endpoint], "model": "base", name: value})
    )
    assert error["param"] == name


@pytest.mark.parametrize("endpoint", GOOD)
@pytest.mark.parametrize(
    ("model", "statuses"),
    [
        (None, (400,)),
        ("", (400,)),
        (5, (400,)),
        (["base"], (400,)),
        ({}, (400,)),
        ("nobody", (404,)),
        ("base ", (404,)),
        ("x" * 10_000, (404,)),
        ("\ud800", (404,)),
        ("a\x00\r\nb", (404,)),
        ("../base", (404,)),
        ("askdocs/base", (404,)),
        ("engine-0/x", (404,)),
        ("openai/gpt-4.1", (404,)),
        ("*", (404,)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_model_that_is_none_is_refused(
    gateway: Gateway, endpoint: str, model: Any, statuses: tuple[int, ...]
) -> None:
    error = refused(gateway.post(f"/v1{endpoint}", {**GOOD[endpoint], "model": model}), statuses)
    assert error["param"] == "model"
    assert len(error["message"]) < 500
    if statuses == (404,):
        assert error["code"] == "model_not_found"


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": kind, kind: inner}]}]}
        for kind, inner in [
            ("image_url", {"url": "data:image/png;base64,AAAA"}),
            ("image_url", "x"),
            ("input_audio", {"data": "x", "format": "wav"}),
        ]
    ]
    + [
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "no"}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "#/x"}}}},
        {"n": 128},
        {"reasoning_format": "nonsense"},
        {"grammar": "("},
    ],
    ids=lambda fields: json.dumps(fields)[-50:],
)
def test_what_only_the_engine_can_refuse_is_the_clients_mistake_all_the_same(
    gateway: Gateway, fields: dict[str, Any]
) -> None:
    body = {"model": "base", "messages": [USER], "max_tokens": 1}
    refused(gateway.post(CHAT, {**body, **fields}))
    streamed = gateway.post(CHAT, {**body, **fields, "stream": True})
    refused(streamed)


def test_a_tool_that_engines_do_not_know_is_passed_over_or_refused(gateway: Gateway) -> None:
    tool = {"type": "custom", "custom": {"name": "x"}}
    body = {"model": "base", "messages": [USER], "max_tokens": 1, "tools": [tool]}
    response = gateway.post(CHAT, body)
    if response.status != 200:
        refused(response)


def test_clients_mistakes_do_not_set_a_model_aside(gateway: Gateway) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"model": "base", "messages": [{"role": "user", "content": [image]}]}
    for _ in range(20):
        refused(gateway.post(CHAT, body))
    assert_answers(gateway)
    text = gateway.send(request("GET", "/metrics")).body.decode()
    assert 'circuit_state{model="base"} 2' not in text
    assert 'circuit_state{model="base"} 1' not in text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hello " * 5000}]}),
        ("/v1/completions", {"prompt": "hello " * 5000}),
    ],
)
def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(
    gateway: Gateway, endpoint: str, fields: dict[str, Any], stream: bool
) -> None:
    body = {"model": "base", "max_tokens": 5, "stream": stream, **fields}
    error = refused(gateway.post(endpoint, body), (400,))
    assert error["code"] == "context_length_exceeded"
    message = error["message"].replace(",", "")
    assert str(CONTEXT) in message
    assert any(5000 <= int(word) < 6000 for word in message.split() if word.isdigit()), message


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"page_url": 5}},
        {"metadata": {"page_url": "http://[bad"}},
        {"metadata": {"page_url": "javascript:alert(1)"}},
        {"metadata": {"page_url": "\ud800\x00"}},
        {"metadata": {"page_url": "/" + "x" * 100_000}},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": []}]},
        {"messages": [{"role": "user", "content": "\x00\ud800"}]},
        {"messages": [{"role": "user", "content": '" OR * NEAR( ^ :'}]},
        {"messages": [{"role": "user", "content": "where " * 20_000}]},
        {"messages": [{"role": "assistant", "content": "coffee"}]},
        {"tools": [TOOL], "messages": [USER] * 3},
        {"messages": [{"role": "system", "content": "x" * 50_000}, USER]},
    ],
    ids=lambda fields: json.dumps(fields)[:50],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_question_to_the_wiki_is_answered_or_refused(
    gateway: Gateway, fields: dict[str, Any], stream: bool
) -> None:
    body = {"model": "docs", "messages": [USER], "max_tokens": 4, "stream": stream, **fields}
    response = gateway.post(CHAT, body)
    if response.status != 200:
        refused(response)
    else:
        assert b'"error"' not in response.body


# The key


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY}x",
        f"Bearer x{KEY}",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY} {KEY}",
        "Bearer schlüssel",
        "Bearer \xff\xfe",
        "Bearer a\tb",
        "Bearer ' OR 1=1 --",
        "Bearer " + "x" * 20_000,
    ],
    ids=lambda value: repr(value[:24]),
)
def test_a_key_that_is_none_is_refused(gateway: Gateway, value: str) -> None:
    response = gateway.send(request("GET", "/v1/models", {"authorization": value}))
    error = refused(response, (401,))
    assert error["code"] == "invalid_api_key"
    assert KEY not in json.dumps(error)


@pytest.mark.parametrize("control", ["\x00", "\x01", "\x0b", "\x7f", "\n", "\r"])
def test_a_key_with_a_control_character_is_refused(gateway: Gateway, control: str) -> None:
    value = f"Bearer {KEY}{control}x"
    refused(gateway.send(request("GET", "/v1/models", {"authorization": value})), (400, 401))


@pytest.mark.parametrize("name", ["x-api-key", "api-key"])
@pytest.mark.parametrize("value", ["", "no", "\xfc\xff", KEY[:-1]])
def test_a_wrong_key_in_another_header_is_refused(gateway: Gateway, name: str, value: str) -> None:
    raw = f"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n{name}: {value}\r\n\r\n".encode("latin-1")
    refused(gateway.send(raw), (401,))


# Methods and paths


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", CHAT),
        ("DELETE", CHAT),
        ("PUT", CHAT),
        ("PATCH", "/v1/models"),
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/base"),
        ("POST", "/health"),
        ("OPTIONS", CHAT),
        ("TRACE", "/"),
    ],
)
def test_a_method_that_is_not_served_is_refused(gateway: Gateway, method: str, path: str) -> None:
    refused(gateway.send(request(method, path, {"content-length": "0"})))


@pytest.mark.parametrize("path", ["/v1/models", CHAT, "/health", "/nowhere"])
def test_head_has_no_body(gateway: Gateway, path: str) -> None:
    with gateway.connection(5) as connection:
        connection.sendall(request("HEAD", path) + request("GET", "/health"))
        first = read(connection, "HEAD")
        assert first.status < 500
        assert first.headers["x-request-id"] or path == "/health"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/chat/completions",
        "/v1/chat/completions/x",
        "/v1/v1/chat/completions",
        "/v1/../admin",
        "/v1/../key/generate",
        "/v1/chat/completions/../../../key/info",
        "/v1/%2e%2e/key/generate",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/chat%2fcompletions/..%2f..",
        "/v1/models/../../key/info",
        "/v1/models/%00",
        "/v1/models/%ff%fe",
        "/v1/models/" + "x" * 5000,
        "/v1/models/a%0d%0ax-forged:%20yes",
        "/" + "x" * 30_000,
        "/v1/nothing?" + "x" * 30_000,
        "/%",
        "/%zz",
        "/;/v1",
        "/v1\\models",
        "/ui",
        "/docs",
        "/key/generate",
        "/v1/key/info",
        "/user/new",
        "/config/update",
        "/model/new",
        "/spend/logs",
        "/health/liveliness",
        "/metrics/",
        "/engines/base/chat/completions",
    ],
    ids=lambda path: path[:40],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_not_served_is_refused(gateway: Gateway, method: str, path: str) -> None:
    if path == "/metrics/" and method == "GET":
        pytest.skip("a slash at the end does no harm")
    response = gateway.send(request(method, path, {"content-length": "0"}))
    refused(response, (400, 404, 405, 414, 431))
    assert "x-forged" not in response.headers


@pytest.mark.parametrize("path", ["//v1//chat/completions", "/v1/chat/completions/", "/V1/models"])
def test_another_spelling_of_a_path_is_served_or_refused(gateway: Gateway, path: str) -> None:
    response = gateway.post(path, {"model": "base", "messages": [USER], "max_tokens": 1})
    if response.status != 200:
        refused(response)


def test_a_path_of_another_host_is_no_way_out(gateway: Gateway) -> None:
    refused(gateway.send(request("GET", "http://127.0.0.1:1/admin")))
    refused(gateway.send(request("CONNECT", "127.0.0.1:22")))


def test_another_host_is_refused_before_the_key(gateway: Gateway) -> None:
    assert starting.refuses_other_hosts(gateway.port, "/v1/models", "hosts of [gateway]")
    probe = gateway.send(b"GET /health HTTP/1.1\r\nhost: pod-17.svc\r\n\r\n")
    assert probe.status == 200


def test_a_websocket_is_refused(gateway: Gateway) -> None:
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert gateway.send(request("GET", "/v1/realtime", headers)).status in REFUSED


# Framing


def framed(*headers: str, body: bytes = b"") -> bytes:
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {KEY}",
    ]
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode("latin-1") + body


GOOD_BODY = json.dumps({"model": "base", "messages": [USER], "max_tokens": 1}).encode()
LENGTH = len(GOOD_BODY)
CHUNK = f"{LENGTH:x}\r\n".encode() + GOOD_BODY + b"\r\n0\r\n\r\n"


NO_HTTP = {
    "chunks and a length": framed(
        "transfer-encoding: chunked", f"content-length: {LENGTH}", body=CHUNK
    ),
    "a length and chunks": framed("content-length: 3", "transfer-encoding: chunked", body=CHUNK),
    "two lengths": framed(f"content-length: {LENGTH}", "content-length: 3", body=GOOD_BODY),
    "negative length": framed("content-length: -1", body=GOOD_BODY),
    "length x": framed("content-length: x", body=GOOD_BODY),
    "length beyond 64 bits": framed(f"content-length: {2**70}", body=GOOD_BODY),
    "chunk size zz": framed("transfer-encoding: chunked", body=b"zz\r\n" + GOOD_BODY),
    "negative chunk": framed("transfer-encoding: chunked", body=b"-5\r\n" + GOOD_BODY),
    "huge chunk": framed("transfer-encoding: chunked", body=b"f" * 40 + b"\r\n" + GOOD_BODY),
    "chunk too long": framed("transfer-encoding: chunked", body=b"3\r\nabcdef\r\n0\r\n\r\n"),
    "garbage": b"GARBAGE\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "HTTP/9.9": b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n",
    "no colon": b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nno colon here\r\n\r\n",
    "space in a name": b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nbad name: y\r\n\r\n",
    "NUL in a value": b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: a\x00b\r\n\r\n",
    "spaces in the path": b"GET /a b c HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "unknown method": b"FOO /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("raw", NO_HTTP.values(), ids=NO_HTTP)
def test_a_request_that_is_no_http_is_refused(gateway: Gateway, raw: bytes) -> None:
    refused(gateway.send(raw, timeout=PATIENCE))


def test_a_body_shorter_than_announced_ends_with_its_connection(gateway: Gateway) -> None:
    with gateway.connection() as connection:
        connection.sendall(framed(f"content-length: {LENGTH + 50}", body=GOOD_BODY))
        connection.shutdown(socket.SHUT_WR)
        left = connection.recv(65536)
        assert left == b"" or b" 400 " in left[:20] or b" 408 " in left[:20]


def test_requests_in_a_row_on_one_connection_are_answered_in_order(gateway: Gateway) -> None:
    bad = framed("content-length: 1", body=b"{")
    good = framed(f"content-length: {LENGTH}", body=GOOD_BODY)
    with gateway.connection() as connection:
        connection.sendall(good + bad + good + request("GET", "/health"))
        # One reader for all: a second one would miss what the first has buffered.
        stream = connection.makefile("rb")
        statuses = [next_status(stream) for _ in range(4)]
    assert statuses == [200, 400, 200, 200]


def next_status(stream: Any) -> int:
    status = int(stream.readline().split()[1])
    headers = http.client.parse_headers(stream)
    stream.read(int(headers["content-length"]))
    return status


# Header bombs


@pytest.mark.parametrize(
    "raw",
    [
        framed(*[f"x-{number}: y" for number in range(10_000)], f"content-length: {LENGTH}"),
        framed(f"x: {'y' * 1_000_000}", f"content-length: {LENGTH}"),
        framed(f"{'x' * 1_000_000}: y", f"content-length: {LENGTH}"),
        framed(*["cookie: " + "z" * 1000] * 1000),
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"G" * 1_000_000,
    ],
    ids=["10,000 headers", "long value", "long name", "many cookies", "long path", "long method"],
)
def test_a_head_that_is_too_large_is_refused(gateway: Gateway, raw: bytes) -> None:
    refused(gateway.send(raw), (400, 414, 431))


def test_a_request_id_of_the_client_is_kept_if_it_is_plain(gateway: Gateway) -> None:
    for given, is_kept in [("abc-123", True), ("x" * 5000, False), ("ü\xff", False), ("", False)]:
        response = gateway.send(request("GET", "/v1/nothing", {"x-request-id": given}))
        refused(response, (404,))
        assert (response.headers["x-request-id"] == given) is is_kept
        assert len(response.headers["x-request-id"]) <= 64


# Slow clients


# What a slow client sends at first, and then each second.
SLOW = {
    "no byte": (b"", b""),
    "half a head": (b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n", b""),
    "head in drops": (b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n", b"x-a: b\r\n"),
    "no body": (framed(f"content-length: {LENGTH}"), b""),
    "half a body": (framed(f"content-length: {LENGTH}", body=GOOD_BODY[:-5]), b""),
    "no chunk": (framed("transfer-encoding: chunked"), b""),
    "half a chunk": (framed("transfer-encoding: chunked", body=b"5\r\nab"), b""),
    "body in drops": (framed("content-length: 8000000"), b" "),
}


def test_slow_clients_are_sent_away_and_keep_nobody_waiting(gateway: Gateway) -> None:
    """Fifty of each kind, all at once: each waits for the same half minute."""
    clients = [
        (gateway.connection(PATIENCE), kind, head, drop)
        for kind, (head, drop) in SLOW.items()
        for _ in range(50)
    ]
    stop = threading.Event()

    def dribble() -> None:
        while not stop.wait(1):
            for connection, _, _, drop in clients:
                if drop:
                    with contextlib.suppress(OSError):
                        connection.sendall(drop)

    dribbling = threading.Thread(target=dribble)
    try:
        for connection, _, head, _ in clients:
            connection.sendall(head)
        dribbling.start()
        assert_answers(gateway)
        deadline = time.monotonic() + PATIENCE
        for connection, kind, head, _ in clients:
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                first = connection.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                pytest.fail(f"still waited for: {kind}")
            if head and first:
                refused(read(connection), (408,))
    finally:
        stop.set()
        dribbling.join()
        for connection, *_ in clients:
            connection.close()


def test_clients_that_leave_at_any_byte_do_no_harm(gateway: Gateway) -> None:
    raw = framed(f"content-length: {LENGTH}", body=GOOD_BODY)
    for end in range(0, len(raw) + 1, 7):
        with gateway.connection() as connection:
            connection.sendall(raw[:end])
