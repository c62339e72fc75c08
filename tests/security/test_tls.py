"""The shipped settings of Caddy, in front of the real gateway and the real widget.

The engine is a stand-in, which says its second word only when the client has read the first: a
proxy that holds answers back does not get far.
"""

import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from askdocs.supervision.checks import free_port
from tests import starting
from tests.parts import require
from tests.security.conftest import ROOT
from tests.speaking import Handler

CADDY = ROOT / "deploy" / "caddy" / "Caddyfile"
API, ASK = "api.example.com", "ask.example.com"
HOW = "apt-get install caddy openssl"
MiB = 2**20


class _Engine(Handler):
    """Says "One." and, at a signal, "Two."."""

    go = threading.Event()

    def do_GET(self) -> None:
        models = [{"id": "halting", "max_model_len": 8192}]
        self.json(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.endswith("/chat/completions"):
            self.json(404, {})
            return
        if not body.get("stream"):
            message = {"role": "assistant", "content": "One. Two."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.json(200, {**HEAD, "object": "chat.completion", "choices": [choice]})
            return
        self.stream()
        self._say("One. ")
        assert self.go.wait(60)
        self._say("Two.", "stop")
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def _say(self, word: str, end: str | None = None) -> None:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": end}
        self.event({**HEAD, "object": "chat.completion.chunk", "choices": [choice]})


HEAD = {"id": "x", "created": 1, "model": "halting"}


@dataclass(frozen=True)
class Parts:
    """What proxies stand in front of."""

    gateway: int
    widget: int
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    port: int
    certificate: Path

    @contextmanager
    def client(self, name: str) -> Iterator[httpx.Client]:
        """Asks for the name, whose certificate is checked, at this machine."""
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        with httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"host": f"{name}:{self.port}", "authorization": f"Bearer {starting.KEY}"},
            verify=trusted,
            trust_env=False,
            timeout=60,
        ) as client:
            client.event_hooks["request"] = [
                lambda request: request.extensions.update({"sni_hostname": name})
            ]
            yield client


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    require(all(map(shutil.which, ("caddy", "openssl"))), HOW)
    folder = tmp_path_factory.mktemp("parts")
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={API}"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", f"subjectAltName=DNS:{API},DNS:{ASK}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), _Engine) as engine:
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{engine.server_port}/v1"
        port = free_port()
        with (
            starting.gateway(
                folder,
                gateway_engine_url=url,
                gateway_engine_model="halting",
                gateway_hosts=API,
            ) as g,
            _started(
                [sys.executable, "-m", "widget"],
                folder / "widget.log",
                ASKDOCS_WIDGET_PORT=str(port),
                ASKDOCS_WIDGET_GATEWAY_URL=g.url,
                ASKDOCS_WIDGET_GATEWAY_KEY=starting.KEY,
                ASKDOCS_WIDGET_MODEL="base",
                ASKDOCS_WIDGET_PUBLIC_URL=f"https://{ASK}",
                ASKDOCS_WIDGET_PERSON_HEADER="x-forwarded-email",
                ASKDOCS_WIDGET_REVIEWERS="ann@example.com",
            ),
        ):
            _until_open(port)
            yield Parts(g.port, port, certificate, key)
        engine.shutdown()


@pytest.fixture(scope="module")
def proxy(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("caddy")
    port = free_port()
    with _started(_caddy(folder, parts, port), folder / "log"):
        _until_open(port)
        yield Proxy(port, parts.certificate)


def _caddy(folder: Path, parts: Parts, port: int) -> list[str]:
    text = _elsewhere(CADDY.read_text(encoding="utf-8"), parts)
    text = re.sub(r"^(api|ask)(\.example\.com) {$", rf"https://\1\2:{port} {{", text, flags=re.M)
    text = text.replace("# tls /etc/askdocs/fullchain.pem /etc/askdocs/privkey.pem", _files(parts))
    assert text.count(f":{port} {{") == 2
    top = f"{{\n\tadmin off\n\tauto_https off\n\tstorage file_system {folder}\n}}\n"
    file = folder / "Caddyfile"
    file.write_text(top + text, encoding="utf-8")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]


def _files(parts: Parts) -> str:
    return f"tls {parts.certificate} {parts.key}"


def _elsewhere(text: str, parts: Parts) -> str:
    """The settings with the ports of this test."""
    for ours, here in ((4000, parts.gateway), (8080, parts.widget)):
        assert text.count(f"127.0.0.1:{ours}") == 1
        text = text.replace(f"127.0.0.1:{ours}", f"127.0.0.1:{here}")
    return text


@contextmanager
def _started(command: list[str], log: Path, **variables: str) -> Iterator[None]:
    with starting._process(command, variables, log) as process:
        yield
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]


def _until_open(port: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


pytestmark = pytest.mark.slow
ASKED = {"model": "base", "messages": [{"role": "user", "content": "hi"}]}


def test_an_answer_of_the_api_arrives_word_by_word(proxy: Proxy) -> None:
    _Engine.go.clear()
    with (
        proxy.client(API) as client,
        client.stream("POST", "/v1/chat/completions", json={**ASKED, "stream": True}) as reply,
    ):
        assert reply.status_code == 200
        said = ""
        for line in reply.iter_lines():
            if "One." in line:
                _Engine.go.set()  # the second word is said now, and not before
            said += line
    assert said.index("One.") < said.index("Two.")
    assert said.endswith("data: [DONE]")


def test_an_answer_in_the_box_arrives_word_by_word(proxy: Proxy) -> None:
    _Engine.go.clear()
    with proxy.client(ASK) as client:
        # What a browser sends with a form: the address that it shows.
        own = {"origin": f"https://{ASK}:{proxy.port}", "hx-request": "true"}
        token = client.post("/token", data={"page": ""}, headers=own).json()["token"]
        sent = {"page": "", "question": "What is one?", "token": token}
        asked = client.post("/asks", data=sent, headers=own)
        assert asked.status_code == 200, asked.text
        found = re.search(r"asks/([\w-]+)/events", asked.text)
        assert found
        events: list[str] = []
        with client.stream("GET", f"/asks/{found[1]}/events") as reply:
            for line in reply.iter_lines():
                events.append(line)
                if "One." in line:
                    _Engine.go.set()
    assert "event: done" in events
    assert any("Two." in line for line in events)


def test_a_form_of_another_site_is_refused(proxy: Proxy) -> None:
    with proxy.client(ASK) as client:
        for origin in ("https://evil.example.com", f"http://{ASK}", "null"):
            reply = client.post("/token", data={"page": ""}, headers={"origin": origin})
            assert reply.status_code == 403


def test_the_connection_is_bound_to_tls_and_the_address_is_seen(proxy: Proxy) -> None:
    with proxy.client(API) as client:
        reply = client.get("/health")
        assert reply.headers["strict-transport-security"] == "max-age=31536000"
    with proxy.client(ASK) as client:
        reply = client.get("/")
        assert reply.headers["strict-transport-security"] == "max-age=31536000"
        # The widget knows that the reader came by TLS, and under which name.
        assert f"https://{ASK}:{proxy.port}/embed.js" in reply.text


def test_metrics_stay_inside(proxy: Proxy) -> None:
    for name in (API, ASK):
        with proxy.client(name) as client:
            for path in ("/metrics", "/metrics/", "//metrics", "/%6detrics"):
                reply = client.get(f"https://127.0.0.1:{proxy.port}{path}")
                assert reply.status_code == 404, (name, path)


def test_nobody_says_who_they_are_by_a_header(proxy: Proxy, parts: Parts) -> None:
    claim = {"x-forwarded-email": "ann@example.com"}
    # Straight from a trusted proxy that signs people in, it counts.
    said = httpx.get(f"http://127.0.0.1:{parts.widget}/review", headers=claim)
    assert said.status_code == 503  # she may, and nothing is stored here to review
    with proxy.client(ASK) as client:
        assert client.get("/review", headers=claim).status_code == 401


def test_a_body_that_is_too_large_is_refused_by_the_gateway_or_before_it(proxy: Proxy) -> None:
    with proxy.client(API) as client:
        reply = client.post("/v1/chat/completions", content=b"x" * (9 * MiB))
        assert reply.status_code == 413
        assert reply.json()["error"]["code"] == "body_too_large"
    for name, path, size in ((API, "/v1/chat/completions", 17 * MiB), (ASK, "/asks", 2 * MiB)):
        with proxy.client(name) as client:
            try:
                reply = client.post(path, content=b"x" * size)
            except httpx.TransportError:
                continue  # it may hang up while more is on its way
            # Caddy 2.6 says 502, later ones 413.
            assert reply.status_code in (413, 502), (name, reply.status_code)


def test_an_answer_that_is_not_streamed_comes_whole(proxy: Proxy) -> None:
    with proxy.client(API) as client:
        reply = client.post("/v1/chat/completions", json=ASKED)
        assert reply.json()["choices"][0]["message"]["content"] == "One. Two."
