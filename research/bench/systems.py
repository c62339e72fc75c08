"""Starts and stops the systems that the benchmark compares, in front of a fake engine."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from core import database
from core.errors import AskdocsError
from gateway.access.keys import Keys, Limits
from research.bench.upstream import MODEL

ROOT = Path(__file__).parents[2]
START_S = 120.0  # LiteLLM takes ten on a quiet machine
# Far more than any run uses: every request is counted, and none refused.
LIMITS = Limits(rpm=10**9, tpm=10**12, max_parallel=10**6)

LITELLM_CONFIG = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: hosted_vllm/{model}
      api_base: {upstream}
      api_key: none
general_settings:
  custom_auth: bench_auth.admit
litellm_settings:
  telemetry: false
"""
LITELLM_AUTH = """\
from litellm.proxy._types import UserAPIKeyAuth

async def admit(request, api_key):
    return UserAPIKeyAuth(api_key=api_key)
"""


@dataclass(frozen=True)
class Started:
    """A running system."""

    url: str
    """Base URL, with /v1."""
    model: str
    key: str
    process: subprocess.Popen[bytes] | None
    is_box: bool = False
    """Is it a widget? Then `url` is its URL."""

    def cpu(self) -> float:
        """CPU seconds used by it and its children."""
        return sum(sum(p.cpu_times()[:2]) for p in self._tree())

    def rss(self) -> int:
        """Resident bytes of it and its children."""
        return sum(p.memory_info().rss for p in self._tree())

    def _tree(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]


@dataclass(frozen=True)
class System:
    """A system between clients and the engine."""

    name: str
    what: str
    command: Callable[["SystemSetup"], list[str]] | None
    model: str = MODEL
    variables: Mapping[str, str] | None = None
    in_paced: bool = True


@dataclass(frozen=True)
class SystemSetup:
    """Where a system runs, and its upstream."""

    folder: Path
    port: int
    upstream: str
    python: Path
    """The Python that has it."""


def _router(place: SystemSetup) -> list[str]:
    port = str(free_port())
    options = ["--policy", "consistent_hash", "--prometheus-port", port, "--log-level", "error"]
    urls = ["--worker-urls", place.upstream.removesuffix("/v1"), "--port", str(place.port)]
    return [str(place.python), "-m", "vllm_router.launch_router", *urls, *options]


def _litellm(place: SystemSetup) -> list[str]:
    config = place.folder / "config.yaml"
    config.write_text(LITELLM_CONFIG.format(model=MODEL, upstream=place.upstream))
    (place.folder / "bench_auth.py").write_text(LITELLM_AUTH)
    program = place.python.with_name("litellm")
    where = ["--host", "127.0.0.1", "--port", str(place.port)]
    return [str(place.python), str(program), "--config", str(config), *where]


def _gateway(place: SystemSetup) -> list[str]:
    return [sys.executable, "-m", "gateway"]


# LiteLLM needs a CPU core for about 1,000 streamed chunks/s: 200 paced streams send 10,000.
SYSTEMS = (
    System("nothing", "clients ask the engine", None),
    System("vllm-router", "vLLM's router, in Rust; no keys, no limits", _router),
    System("litellm", "LiteLLM's proxy with custom_auth; no limits", _litellm, in_paced=False),
    System("askdocs", "the gateway: key, limits, accounting", _gateway, "base"),
)


@contextmanager
def engine(*options: str, module: str = "research.bench.upstream") -> Iterator[str]:
    """A fake engine in its own process; yields its base URL."""
    port = free_port()
    command = [sys.executable, "-m", module, "--port", str(port), *options]
    with tempfile.TemporaryDirectory(prefix="askdocs-bench-") as name:
        log = Path(name) / "log"
        process = _spawn(command, log, _environment({}), ROOT)
        try:
            _wait(f"http://127.0.0.1:{port}/v1/models", "the fake engine", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _stop(process)


@contextmanager
def running(system: System, upstream: str, python: Path) -> Iterator[Started]:
    """The system in front of `upstream`; `python` is the Python that has it.

    Raises AskdocsError: it does not start.
    """
    if system.command is None:
        yield Started(upstream, system.model, "none", None)
        return
    with tempfile.TemporaryDirectory(prefix="askdocs-bench-") as name:
        place = SystemSetup(Path(name), free_port(), upstream, python)
        ours = system.command is _gateway
        url = f"sqlite:///{place.folder / 'askdocs.db'}"
        key = _key(url) if ours else "sk-bench"
        variables = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download at start
            "LITELLM_TELEMETRY": "False",
            "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}",  # it does not start without
            **(system.variables or {}),
        }
        if ours:
            variables |= {
                "ASKDOCS_HOME": name,
                "ASKDOCS_DATABASE_URL": url,
                "ASKDOCS_GATEWAY_PORT": str(place.port),
                "ASKDOCS_GATEWAY_ENGINE_URL": upstream,
            }
        log = place.folder / "log"
        process = _spawn(system.command(place), log, _environment(variables), place.folder)
        try:
            base = f"http://127.0.0.1:{place.port}"
            _wait(f"{base}/v1/models", system.name, process, log, key)
            yield Started(f"{base}/v1", system.model, key, process)
        finally:
            _stop(process)


@contextmanager
def box(gateway: Started) -> Iterator[Started]:
    """A widget that asks this gateway, with its own database."""
    with tempfile.TemporaryDirectory(prefix="askdocs-bench-") as name:
        port = free_port()
        variables = {
            "ASKDOCS_HOME": name,
            "ASKDOCS_DATABASE_URL": f"sqlite:///{name}/askdocs.db",
            "ASKDOCS_WIDGET_PORT": str(port),
            "ASKDOCS_WIDGET_GATEWAY_URL": gateway.url,
            "ASKDOCS_WIDGET_GATEWAY_KEY": gateway.key,
        }
        log = Path(name) / "log"
        command = [sys.executable, "-m", "widget"]
        process = _spawn(command, log, _environment(variables), Path(name))
        try:
            base = f"http://127.0.0.1:{port}"
            _wait(f"{base}/health", "the widget", process, log)
            yield Started(base, "docs", "none", process, is_box=True)
        finally:
            _stop(process)


@contextmanager
def started_redis(folder: Path) -> Iterator[str]:
    """The URL of a Redis without persistence."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = _spawn(["redis-server", *options], folder / "redis.log", dict(os.environ), folder)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        _stop(process)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _key(url: str) -> str:
    """A real key with limits, in its own database."""
    opened = database.open(url)
    try:
        database.migrate(opened)
        return Keys(opened).create("bench", limits=LIMITS)[1]
    finally:
        opened.dispose()


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")
    }
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**inherited, "PYTHONPATH": path, **variables}


def _spawn(
    command: list[str], log: Path, environment: dict[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the benchmark, which stops its parts itself
        )


def _wait(
    url: str, name: str, process: subprocess.Popen[bytes], log: Path, key: str = "none"
) -> None:
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})  # noqa: S310
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):  # noqa: S310 (an address of ours)
                return
        except (OSError, urllib.error.HTTPError) as error:
            tail = log.read_text(errors="replace")[-1500:]
            if process.poll() is not None:
                raise AskdocsError(f"{name} ended while starting:\n{tail}") from None
            if time.monotonic() > deadline:
                text = f"{name} did not answer within {START_S:.0f} s ({error}):\n{tail}"
                raise AskdocsError(text) from None
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate it and its children, by force if necessary."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=8)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its own session, and therefore group
    process.wait()
