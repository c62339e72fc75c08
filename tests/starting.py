"""Real engines and real gateways for tests, each a process of its own on a free port."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from askdocs import environments
from askdocs.models import model
from askdocs.supervision.checks import free_port
from core.errors import AskdocsError
from gateway.upstream.engines import llamacpp
from tests import databases
from tests.parts import require

REPO = Path(__file__).parents[1]
PROVIDERS = REPO / ".cache" / "providers"
KEY = "ask-installation-0123456789"
# A client reads the certificates of all authorities, which takes 8 ms: a tenth of a core while
# something starts, as it is asked ten times a second.
TLS = httpx.create_ssl_context()


@dataclass
class Engine:
    """llama.cpp's server with the small model."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def busy(self) -> int:
        """Requests that it works on now."""
        return busy(self.url)


@dataclass
class Gateway:
    """`python -m gateway`."""

    process: subprocess.Popen[bytes]
    port: int
    home: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> str:
        return f"sqlite:///{self.home / 'askdocs.db'}"


def busy(engine: str) -> int:
    """Requests that llama.cpp works on now, whose address ends with /v1."""
    metrics = httpx.get(f"{engine.removesuffix('/v1')}/metrics", verify=TLS).text
    for line in metrics.splitlines():
        if line.startswith("llamacpp:requests_processing"):
            return int(float(line.split()[-1]))
    raise AssertionError("the engine does not tell its running requests")


def shipped() -> Path:
    """The file of the small model; the test is skipped where it is not installed."""
    try:
        return Path(model.shipped().source)
    except AskdocsError:
        require(False, "make setup")
        raise


@contextmanager
def engine(
    folder: Path,
    *,
    gguf: Path | None = None,
    name: str = "base",
    port: int | None = None,
    context: int = 8192,
    parallel: int = 2,
    embeddings: bool = False,
    states: Path | None = None,
) -> Iterator[Engine]:
    """Started, and stopped at the end. `gguf`: another model than the shipped one."""
    port = port or free_port()
    launch = llamacpp.launch(
        gguf or shipped(),
        port=port,
        served_name=name,
        context=context,
        threads=2,
        parallel=parallel,
        embeddings=embeddings,
        states=states,
    )
    argv = [*launch.argv]
    argv[argv.index("gateway.upstream.engines.llamacpp")] = "tests.seeded_engine"
    with _process(argv, launch.env, folder / f"engine-{port}.log") as process:
        _until(lambda: is_up(f"http://127.0.0.1:{port}/health"), process, 60)
        yield Engine(process, port)


@contextmanager
def gateway(
    folder: Path,
    *,
    port: int | None = None,
    ready: bool = True,
    code: Path = REPO,
    **variables: str,
) -> Iterator[Gateway]:
    """Started with `ASKDOCS_<NAME>` from `variables`; waited for until it serves."""
    port = port or free_port()
    home = folder / "home"
    if code == REPO and "database_url" not in variables:
        databases.prepare(home)
    if "litellm" in variables.get("gateway_models", ""):
        link_litellm(home)
    env = {
        "PYTHONPATH": str(code),
        "ASKDOCS_HOME": str(home),
        "ASKDOCS_GATEWAY_PORT": str(port),
        "ASKDOCS_GATEWAY_KEY": KEY,
        "ASKDOCS_GATEWAY_INDEX": str(folder / "index.db"),
        **{f"ASKDOCS_{name.upper()}": value for name, value in variables.items()},
    }
    argv = [sys.executable, "-m", "gateway"]
    with _process(argv, env, folder / f"gateway-{port}.log", folder) as process:
        path = "ready" if ready else "health"
        _until(lambda: is_up(f"http://127.0.0.1:{port}/{path}"), process, 120)
        yield Gateway(process, port, home, folder / f"gateway-{port}.log")


def litellm_python() -> Path:
    """The Python of LiteLLM's environment; the test is skipped where it is not installed."""
    python = environments.find(environments.PROVIDERS, PROVIDERS)
    install = ".venv/bin/python -m askdocs.environments providers --home .cache/providers"
    require(python is not None, install)
    assert python is not None
    return python


def link_litellm(home: Path) -> None:
    """Give the state folder LiteLLM's environment."""
    litellm_python()
    link = home / "environments" / "providers"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(PROVIDERS / "environments" / "providers")


@contextmanager
def widget(folder: Path, gateway: str, *, code: Path = REPO, **variables: str) -> Iterator[str]:
    """`python -m widget` before the gateway at this address with /v1; yields its own address."""
    port = free_port()
    env = {
        "PYTHONPATH": str(code),
        "ASKDOCS_WIDGET_PORT": str(port),
        "ASKDOCS_WIDGET_GATEWAY_URL": gateway,
        "ASKDOCS_WIDGET_GATEWAY_KEY": KEY,
        **{f"ASKDOCS_{name.upper()}": value for name, value in variables.items()},
    }
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "widget"]
    with _process(argv, env, folder / f"widget-{port}.log", folder) as process:
        _until(lambda: is_up(f"{url}/health"), process, 120)
        yield url


@contextmanager
def shown(folder: Path) -> Iterator[str]:
    """The address of a site that shows the folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _process(
    argv: list[str], env: dict[str, str], log: Path, folder: Path = REPO
) -> Iterator[subprocess.Popen[bytes]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, env={**clean, **env}, cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    process.log = log  # type: ignore[attr-defined]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(done: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        said = process.log.read_text(errors="replace")[-3000:]  # type: ignore[attr-defined]
        assert process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def is_up(url: str, seconds: float = 2) -> bool:
    try:
        reply = httpx.get(url, timeout=seconds, verify=TLS, trust_env=False)
    except httpx.HTTPError:
        return False
    return reply.status_code == 200


def refuses_other_hosts(port: int, path: str, setting: str) -> bool:
    """Does what listens there answer 421 to a name that nobody listed?"""
    url = f"http://127.0.0.1:{port}{path}"
    reply = httpx.get(url, headers={"host": f"evil.example:{port}"}, trust_env=False)
    named = httpx.get(url, headers={"host": f"localhost:{port}"}, trust_env=False)
    return reply.status_code == 421 and setting in reply.text and named.status_code < 421


def is_behind_the_edge(port: int) -> bool:
    """Does what listens there refuse what is not HTTP as `gateway.runtime.protocol` does?"""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\r\n\r\n")
        return b'"code": "invalid_http"' in connection.makefile("rb").read()


@contextmanager
def writer(folder: Path, file: Path, *, gap: float = 0.0) -> Iterator[str]:
    """A recorded writer that answers from `file`: the base URL of its API."""
    port = free_port()
    argv = [sys.executable, "-m", "research.bench.writer", str(file)]
    argv += ["--port", str(port), "--gap", str(gap)]
    with _process(argv, {"PYTHONPATH": str(REPO)}, folder / f"writer-{port}.log") as process:
        _until(lambda: is_up(f"http://127.0.0.1:{port}/v1/models"), process, 60)
        yield f"http://127.0.0.1:{port}/v1"
