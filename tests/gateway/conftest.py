"""What the tests of the gateway share: pages, an index of them, and the real engine."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

from askdocs import model
from gateway.engine import Engine
from gateway.engines import llamacpp
from gateway.errors import AskdocsError
from gateway.search import index
from gateway.search.index import Index
from gateway.sources.markdown import parse
from gateway.wiki.page import Page
from tests.parts import require

SITE = "https://wiki.example.com/"

# A busy machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the settings or writes to the folder of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("ASKDOCS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def indexed(tmp_path: Path) -> Iterator[Callable[..., Index]]:
    """Index pages, given as path and text."""
    opened: list[Index] = []

    def make(**texts: str) -> Index:
        pages = [page(f"{name.replace('__', '/')}.md", text) for name, text in texts.items()]
        file = tmp_path / f"index-{len(opened)}.db"
        index.build(file, pages)
        opened.append(Index(file))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def page(path: str, text: str) -> Page:
    return parse(path, text, SITE)


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama.cpp's server with the small model, up in a second: the base URL of its API."""
    try:
        gguf = model.shipped().source
    except AskdocsError:
        gguf = ""
    require(bool(gguf), "make setup")
    port = free_port()
    launch = llamacpp.launch(
        Path(gguf), port=port, served_name="small", context=2048, threads=2, parallel=1
    )
    log = tmp_path_factory.mktemp("engine") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            launch.argv,
            env={**os.environ, **launch.env},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
        )
    try:
        deadline = time.monotonic() + 60
        while not is_up(port):
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
async def engine(engine_url: str) -> AsyncIterator[Engine]:
    engine = Engine(engine_url)
    yield engine
    await engine.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False
