"""LiteLLM's proxy, which reaches providers' models: a process of its own, asked like an engine.

The gateway's first process owns it (`Proxies`), if a model in the settings has `litellm`. It
listens on loopback, with a key that is new at each start, in the Python of `interpreter`. Each
worker asks it over `LiteLLM`, with the fields of a body that `gateway.api.schemas` allows and the
gateway's own headers.
"""

import asyncio
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import orjson
import yaml

from core.errors import AskdocsError
from core.settings import home
from core.tasks import Tasks
from gateway.settings import GatewaySettings, ModelEntry
from gateway.upstream.http_client import EngineHttpClient, LaneReply, Unreachable

INSTALL = ".venv/bin/python -m askdocs.environments providers --home"
# The environment variables by which workers know the running proxy.
URL, KEY = "GATEWAY_LITELLM_URL", "GATEWAY_LITELLM_KEY"
ALIVE = "/health/liveliness"
START_S = 120.0  # to start: 6 s of a core, and more where other programs need it too
SILENT_S = 60.0  # without an answer to `ALIVE`, until it is started again
LOOK_S = 10.0  # between two of these questions
PATIENCE_S = 60.0  # that a request waits for the first start

_SETTINGS: dict[str, Any] = {
    "general_settings": {
        "master_key": "os.environ/LITELLM_MASTER_KEY",
        "disable_spend_logs": True,
        "disable_error_logs": True,
    },
    "litellm_settings": {
        "num_retries": 0,  # 2 delayed errors by 4.9 s; clients retry themselves
        "request_timeout": 600,
        "telemetry": False,
        "drop_params": False,
        # It fetches images for some providers: never from this machine's own network.
        "user_url_validation": True,
        "user_url_allowed_hosts": [],
    },
    "router_settings": {
        "num_retries": 0,
        # The gateway has its own breaker; a cooldown would only extend the outage.
        "disable_cooldowns": True,
    },
}
_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",  # no .env file
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download at start
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOG": "CRITICAL",  # else a traceback for each client's mistake
    "LITELLM_DONT_SHOW_FEEDBACK_BOX": "true",
    "DISABLE_ADMIN_UI": "True",
    "NO_DOCS": "True",
    "NO_REDOC": "True",
    "NO_OPENAPI": "True",
    # Longer texts are estimated from samples: a tokenizer takes a second for 4 MB.
    "TOKEN_COUNTER_MAX_EXACT_CHARS": "40000",
}
# Variables that LiteLLM would read as its own database, cache and metrics.
_NOT_PASSED = re.compile(
    "ASKDOCS_|GATEWAY_LITELLM_|LITELLM_|DATABASE_|DIRECT_URL|REDIS_|STORE_|PROMETHEUS_|CONFIG_FILE_"
)
# It ends with the process that started it, even when that one is killed.
_START = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv.pop(1)): sys.exit("the gateway has ended")
from litellm import run_server
run_server()
"""


def config(models: Mapping[str, ModelEntry]) -> dict[str, Any] | None:
    """LiteLLM's config.yaml for the providers among `models`; None if there are none.

    It has no key: LiteLLM takes them from its environment.
    """
    listed = []
    for name, entry in models.items():
        if entry.litellm is not None:
            key = f"os.environ/{entry.key_env}" if entry.key_env else None
            params = {"model": entry.litellm, "api_base": entry.api_base, "api_key": key}
            given = {k: v for k, v in params.items() if v is not None}
            listed.append({"model_name": name, "litellm_params": given})
    return {"model_list": listed, **_SETTINGS} if listed else None


def interpreter() -> Path:
    """The Python that has LiteLLM: the environment `providers` of the state folder, or this one.

    Raises AskdocsError: it is not installed.
    """
    place = home() / "environments" / "providers"
    if (place / "askdocs.json").is_file():  # written when it is complete
        return place / "bin" / "python"
    if find_spec("litellm"):  # the extra `providers`
        return Path(sys.executable)
    raise AskdocsError(
        "a model in [gateway.models] has litellm, and LiteLLM is not installed: run"
        f" {INSTALL} {home()}"
    )


class Proxy:
    """One running proxy, started again whenever it ends or is silent."""

    def __init__(self, config: dict[str, Any], name: str, tasks: Tasks) -> None:
        """`name`: of its files in the state folder. Raises AskdocsError, as `interpreter`."""
        self.config = config
        self.key = f"sk-{secrets.token_hex(32)}"
        self._port = _free_port()
        self._python = interpreter()
        self._files = home() / "run" / name
        self._closing = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        # This thread lives as long as the proxy: the system ends a child with the thread that
        # started it.
        self._thread = threading.Thread(
            target=tasks.go_on, args=("litellm", self._run, self._closing), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        self._closing.set()
        if self._child is not None:
            self._child.kill()  # it keeps nothing
        self._thread.join()
        self._files.with_suffix(".yaml").unlink(missing_ok=True)

    def _run(self) -> None:
        """Keep it running until it is closed. Raises AskdocsError: it ended or is silent."""
        log = self._files.with_suffix(".log")
        child = self._child = self._start(log)
        heard = time.monotonic() + START_S - SILENT_S
        try:
            while not self._closing.is_set():
                with suppress(subprocess.TimeoutExpired):
                    child.wait(LOOK_S)
                if self._closing.is_set():
                    return
                if child.returncode is not None:
                    last = log.read_text(errors="replace").strip()[-300:]
                    raise AskdocsError(f"it ended, exit code {child.returncode}: {last}")
                if _is_up(self.url):
                    heard = time.monotonic()
                elif time.monotonic() - heard > SILENT_S:
                    raise AskdocsError(f"it does not answer {self.url}{ALIVE}")
        finally:
            child.kill()
            child.wait()

    def _start(self, log: Path) -> subprocess.Popen[bytes]:
        settings = self._files.with_suffix(".yaml")
        settings.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(settings, "w", opener=_for_its_owner) as file:
            yaml.safe_dump(self.config, file)
        passed = {k: v for k, v in os.environ.items() if not _NOT_PASSED.match(k)}
        options = ["--config", str(settings), "--host", "127.0.0.1", "--port", str(self._port)]
        with open(log, "wb", opener=_for_its_owner) as output:
            return subprocess.Popen(
                [str(self._python), "-I", "-c", _START, str(os.getpid()), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**passed, **_ENVIRONMENT, "LITELLM_MASTER_KEY": self.key},
                cwd=settings.parent,
                start_new_session=True,  # a Ctrl-C is for the gateway, which lets answers finish
            )


class Proxies:
    """The proxy of a gateway's workers: none without a provider; two while workers are replaced
    after a change of the providers."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._current: Proxy | None = None
        self._former: Proxy | None = None

    def follow(self, settings: GatewaySettings) -> None:
        """Start a proxy if the providers have changed, for workers that start from now on.

        Raises AskdocsError: LiteLLM is not installed.
        """
        wanted = config(settings.models)
        if wanted == (self._current.config if self._current else None):
            self._former = self._current
            return
        name = f"litellm-{settings.port}"
        started = Proxy(wanted, name, self._tasks) if wanted else None
        self._former, self._current = self._current, started
        self._publish()

    def settle(self) -> None:
        """All workers are new."""
        if self._former is not None and self._former is not self._current:
            self._former.close()
        self._former = self._current

    def go_back(self) -> None:
        """The workers stay as they were before `follow`."""
        if self._current is not None and self._current is not self._former:
            self._current.close()
        self._current = self._former
        self._publish()

    def close(self) -> None:
        for proxy in {self._current, self._former}:
            if proxy is not None:
                proxy.close()

    def _publish(self) -> None:
        for name in (URL, KEY):
            os.environ.pop(name, None)
        if self._current is not None:
            os.environ[URL], os.environ[KEY] = self._current.url, self._current.key


class LiteLLM:
    """A worker's connection to the proxy."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._url = env.get(URL, "http://127.0.0.1:1")  # never asked: no model has a provider
        self._client = EngineHttpClient(f"{self._url}/v1", env.get(KEY))
        self._started = asyncio.Event()

    async def open(
        self, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> LaneReply:
        """As `EngineHttpClient.open`; waits for the proxy's first start. Raises LaneError."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._started.wait()
        except TimeoutError:
            raise Unreachable("LiteLLM has not started") from None
        return await self._client.open(path, headers, body)

    async def watch(self) -> None:
        """Wait until it has started."""
        while not await asyncio.to_thread(_is_up, self._url):  # noqa: ASYNC110
            await asyncio.sleep(0.3)
        self._started.set()

    async def close(self) -> None:
        await self._client.close()


def is_failure(body: bytes) -> bool:
    """Is it a failure of the provider or of LiteLLM itself, whatever its status says?

    LiteLLM answers 400 to some answers that it cannot read, with its traceback.
    """
    return _FAILURE.search(body[:200]) is not None


def plain(body: bytes) -> bytes:
    """A provider's error without LiteLLM's additions at its ends."""
    try:
        text = str(orjson.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = body.decode("utf-8", "replace")
    is_too_long = "ContextWindowExceededError" in text
    text = _AFTER.split(_BEFORE.sub("", text), maxsplit=1)[0].strip()
    with suppress(ValueError, AttributeError):
        content = orjson.loads(text)
        content = content.get("error", content)
        text = str(content.get("message", text)) if isinstance(content, dict) else text
    error = {
        "message": text or "the provider refused this request",
        "type": "invalid_request_error",
    }
    if is_too_long:
        error |= {"param": "messages", "code": "context_length_exceeded"}
    return orjson.dumps({"error": error})


_FAILURE = re.compile(
    rb'"message":"(?:Invalid request format: )?litellm\.(?:APIConnection|InternalServer)Error'
)
# "litellm.BadRequestError: AnthropicException - ..."
_BEFORE = re.compile(r"^(?:(?:litellm\.)?[A-Za-z_]{1,60}(?:Error|Exception)(?::| -) ?){1,5}")
# Its advice about its own settings, and about its routing.
_AFTER = re.compile(r"LiteLLM: model group|\. ?Received Model Group=|To drop these, set|\nmodel=")


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}{ALIVE}", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
