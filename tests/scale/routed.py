"""vLLM's router before several engines: the real one, in the environment of the benchmarks."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from askdocs.supervision.checks import free_port
from core.errors import AskdocsError
from research.bench import __main__ as bench
from tests import starting
from tests.parts import require

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".cache" / "router"
COMPOSE = ROOT / "deploy" / "compose.router.yaml"


@dataclass
class Router:
    """It runs."""

    port: int
    metrics: int
    process: subprocess.Popen[bytes]

    def asked(self) -> dict[str, int]:
        """How many requests each engine got, by its address."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5).text
        found = re.findall(
            r'^vllm_router_processed_requests_total\{worker="(.*)"\} (\d+)', text, re.M
        )
        return {worker: int(count) for worker, count in found}

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def healthy(self) -> set[str]:
        """The addresses of the engines that it takes for healthy."""
        told: dict[str, Any] = httpx.get(f"{self.root}/workers", timeout=5).json()
        return {one["url"] for one in told["workers"] if one["is_healthy"]}


def options() -> list[str]:
    """Those of deploy/compose.router.yaml, but for addresses and ports."""
    service = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["router"]
    words = [str(word) for word in service["command"]]
    first = words.index("--policy")
    return words[first:]


def config(url: str, model: str) -> str:
    """The askdocs.toml of deploy/compose.router.yaml, for this address and model of the router."""
    gateway = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["gateway"]
    (volume,) = gateway["volumes"]
    file = str(volume["source"]).removeprefix("${CONFIG:-").removesuffix("}")
    text = (ROOT / file).read_text(encoding="utf-8")
    for old, new in (("http://engine:8001/v1", url), ('model = "base"', f'model = "{model}"')):
        assert old in text
        text = text.replace(old, new)
    return text


@contextmanager
def router(log: Path, urls: Sequence[str], *more: str) -> Iterator[Router]:
    """Before these engines; `more` options come last and win."""
    try:
        python = bench.ensure_router(PLACE)
    except AskdocsError as error:
        require(False, str(error))
        raise
    port, metrics = free_port(), free_port()
    ports = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(metrics)]
    command = [str(python), "-m", "vllm_router.launch_router", "--worker-urls", *urls, *ports]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options(), *more], stdout=output, stderr=subprocess.STDOUT, cwd=ROOT
        )
    try:
        started = Router(port, metrics, process)
        until(lambda: started.healthy() == set(urls), 90, log)
        yield started
    finally:
        process.kill()
        process.wait()


@dataclass
class Asked:
    """What became of a request."""

    stream: bool
    status: int
    text: str

    @property
    def is_whole(self) -> bool:
        return self.status == 200 and ("[DONE]" if self.stream else '"finish_reason"') in self.text

    @property
    def said(self) -> str:
        """The words of a whole answer, or of all events of a stream."""
        if not self.stream:
            return str(json.loads(self.text)["choices"][0]["message"]["content"])
        data = [line[6:] for line in self.text.splitlines() if line.startswith("data: {")]
        choices = [choice for one in data for choice in json.loads(one)["choices"]]
        return "".join(choice["delta"].get("content") or "" for choice in choices)


def continued(gateway: starting.Gateway) -> float:
    """Streams that went on elsewhere."""
    text = httpx.get(f"{gateway.root}/metrics", timeout=10).text
    found = re.findall(r'_broken_answers_total\{.*outcome="continued"\} (\S+)', text)
    return sum(map(float, found))


@dataclass
class StandIn:
    """An engine that answers slowly and computes nothing, see research.bench.gpu."""

    port: int
    gap: float
    process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "research.bench.gpu", "--port", str(self.port)]
        self.process = subprocess.Popen([*command, "--gap", str(self.gap)], cwd=ROOT)
        until(lambda: httpx.get(f"{self.root}/health", timeout=5).status_code == 200, 60)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def until(fact: Any, seconds: float, log: Path | None = None) -> None:
    """Wait for it; an address that does not answer yet is no fact."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if fact():
                return
        except (httpx.HTTPError, KeyError, ValueError):
            pass
        said = log.read_text(errors="replace")[-2000:] if log else os.devnull
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
