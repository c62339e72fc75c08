"""The engine of `askdocs up`: a process that it starts, or an external engine."""

import asyncio
import contextlib
import datetime
import os
import platform
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx
import psutil
from pydantic import SecretStr

from askdocs import environments
from askdocs.capacity import here
from askdocs.models import model
from askdocs.state.home import Home, read_json, write_json
from askdocs.supervision import checks, hanging
from askdocs.supervision.budget import GPU_RATE, assumed_rate
from askdocs.supervision.deployed import Host
from askdocs.supervision.settings import UpSettings
from askdocs.supervision.supervisor import Say, Service
from askdocs.supervision.threads import Threads
from core.errors import AskdocsError
from gateway.routing.deployments import ArtefactKind
from gateway.telemetry import tracing
from gateway.upstream.engine import Engine
from gateway.upstream.engines import llamacpp, vllm
from gateway.upstream.engines.launch import Launch
from training.plan import machine

# Minimum tokens read to measure the prefill speed, and seconds between two measurements.
ENOUGH = 2000
LOOK = 20.0
# Time limit in seconds for an external engine's first prompt, and its words.
PROBE = 3.0
WORDS = 300


@dataclass(frozen=True)
class Served:
    """The engine as the gateway sees it."""

    url: str
    id: str
    """The model's name at the engine."""
    name: str
    """The model's display name."""
    context: int
    own: bool
    """Did we start it?"""
    states: Path | None = None
    """Folder of llama.cpp's KV cache snapshots."""
    source: str = ""
    """A path or a hub id; "" if the engine runs elsewhere."""
    size: int | None = None
    """Bytes of its weights, if they are on this machine."""


class UpEngine:
    """The engine of an `askdocs up`."""

    def __init__(
        self,
        settings: UpSettings,
        key: SecretStr | None,
        home: Home,
        threads: Threads,
        start: Callable[[Service], Awaitable[None]],
        say: Say,
    ) -> None:
        """`key` is an external engine's; `start` starts a process and waits until it is ready."""
        self._settings = settings
        self._key = key.get_secret_value() if key else None
        self._home = home
        self._threads = threads
        self._start = start
        self._say = say
        self.stop = threading.Event()
        """Set it to abort an installation."""

    async def find(self) -> Served:
        """What will be served after `start`. Raises AskdocsError."""
        if self._settings.engine_url:
            return await self._elsewhere(self._settings.engine_url)
        return await self._prepare()

    async def start(self, served: Served) -> Served:
        """Start the engine unless it is external; returns its actual model and context. Raises
        AskdocsError."""
        return await self._own(served) if served.own else served

    async def prefill(self, served: Served) -> float:
        """Prefill speed in tokens/s: measured in earlier questions, or assumed.

        An unknown external engine is measured with a short prompt, for at most PROBE seconds.
        Raises AskdocsError: the prompt failed.
        """
        stored = read_json(self._home.prefill) or {}
        if stored.get("about") == self._about(served):
            return float(stored["tokens_per_second"])
        if not served.own:
            return await self._probe(served)
        if served.size is None or (self._settings.engine == "vllm" and environments.has_gpu()):
            return GPU_RATE
        return assumed_rate(served.size, self._settings.threads or default_threads())

    async def observe(self, served: Served) -> None:
        """Measure the prefill speed of real questions for later starts, until cancelled."""
        engine = Engine(served.url, None if served.own else self._key, served.id)
        before = None
        try:
            while True:
                now = await engine.reading()
                if before and now and now.tokens - before.tokens >= ENOUGH:
                    self._keep_rate(
                        served, now.tokens - before.tokens, now.seconds - before.seconds
                    )
                    before = now
                elif before is None or now is None or now.tokens < before.tokens:
                    before = now  # it has been started or restarted
                await asyncio.sleep(LOOK)
        finally:
            await engine.close()

    async def _probe(self, served: Served) -> float:
        engine = Engine(served.url, self._key, served.id)
        began = time.monotonic()
        try:
            rate = await asyncio.wait_for(engine.measure_prefill(WORDS), PROBE)
        except TimeoutError:
            rate = WORDS / PROBE  # an upper bound
        except httpx.HTTPError as error:
            raise AskdocsError(
                f"the engine at {served.url} failed a first request: {error!r}"
            ) from None
        finally:
            await engine.close()
        seconds = time.monotonic() - began
        self._keep_rate(served, round(rate * seconds), seconds)
        return rate

    def _keep_rate(self, served: Served, tokens: int, seconds: float) -> None:
        rate = tokens / max(seconds, 0.001)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        stored = {
            "about": self._about(served),
            "tokens_per_second": round(rate, 1),
            "measured": today,
        }
        with contextlib.suppress(AskdocsError):  # the disk is full: measure again later
            write_json(self._home.prefill, stored)

    def _about(self, served: Served) -> str:
        """Identifies the configuration that a speed was measured with."""
        settings = self._settings
        where = settings.engine if served.own else served.url
        threads = settings.threads or default_threads()
        return f"{where} {settings.model or model.SHIPPED} {threads} {platform.node()}"

    def host(self, served: Served) -> Host:
        """How versions are served by this engine or beside it."""

        async def launch(name: str, source: Path, port: int) -> Launch:
            return await self._launch(str(source), name, port, partial(self._say, name))

        return Host(
            kind=self._kind(served),
            url=served.url,
            key=None if served.own else self._key,
            gpu=not served.own or environments.has_gpu(),
            launch=launch,
            timeout=self._timeout,
        )

    def _kind(self, served: Served) -> ArtefactKind:
        """How this engine serves versions of a model."""
        if not served.own:
            return "adapter"
        if self._settings.engine == "llama.cpp":
            return "gguf"
        return "adapter" if self._adapters() else "merged"

    async def _elsewhere(self, url: str) -> Served:
        engine = Engine(url, self._key, self._settings.model)
        try:
            listed = await engine.model()
            self._tell(f"{listed.id} at {url}")
            if listed.context and await engine.kind() == "vllm":
                await self._threads.run(here.after, url, listed.context, self._tell)
        except httpx.HTTPError as error:
            raise AskdocsError(f"the engine at {url} failed to answer: {error!r}") from None
        finally:
            await engine.close()
        # Engines that do not report their context have at least 4,096 tokens.
        return Served(url, listed.id, listed.id, listed.context or 4096, own=False)

    async def _prepare(self) -> Served:
        """Prepare the local model in the engine's format."""
        settings, in_thread = self._settings, self._threads.run
        chosen = await in_thread(model.find, settings.model, settings.engine, self._tell)
        source = chosen.source
        if settings.engine == "vllm" and chosen.is_gguf:
            folder = self._home.models / model.folder_name(chosen)
            await self._convert(await self._vllm(self._tell), Path(source), folder)
            source = str(folder)
        states = None if settings.engine == "vllm" else self._states(Path(source))
        # The settings' ports will be bound later.
        port = checks.free_port(settings.gateway_port, settings.widget_port, settings.site_port)
        return Served(
            url=f"http://127.0.0.1:{port}/v1",
            id="base",
            name=chosen.name,
            context=settings.context,
            own=True,
            states=states,
            source=source,
            size=model.size(Path(source)),
        )

    async def _own(self, served: Served) -> Served:
        settings, in_thread = self._settings, self._threads.run
        if settings.engine == "vllm":
            gpus = (await in_thread(machine.look)).gpus
            await in_thread(
                here.before, served.source, settings.context, self._adapters(), gpus, self._tell
            )
            # Download now: the engine's start has a timeout.
            await in_thread(model.prefetch, served.source, self._tell)
        port = int(served.url.rpartition(":")[2].partition("/")[0])
        launch = await self._launch(served.source, served.id, port, self._tell, served.states)
        probe = Engine(served.url)
        service = Service(
            name="engine",
            argv=launch.argv,
            env=launch.env,
            log=self._home.logs / "engine.log",
            ready=partial(_ready, probe),
            timeout=self._timeout,
            hung=partial(hanging.hung, served.url),
        )
        self._tell(f"starting {settings.engine} with {served.name}")
        await self._start(service)
        listed = await probe.model()
        if settings.engine == "vllm":
            await in_thread(here.after, served.url, settings.context, self._tell)
        return replace(served, id=listed.id, context=listed.context or settings.context)

    async def _launch(
        self,
        source: str,
        name: str,
        port: int,
        say: Callable[[str], None],
        states: Path | None = None,
    ) -> Launch:
        """The command that serves a model under a name."""
        settings = self._settings
        threads = settings.threads or default_threads()
        if settings.engine == "llama.cpp":
            return llamacpp.launch(
                Path(source),
                port=port,
                served_name=name,
                context=settings.context,
                threads=threads,
                parallel=2 if threads < 8 else 4,
                states=states,
            )
        is_base = name == "base"
        settled = model.settled_template
        return vllm.launch(
            await self._vllm(say),
            source,
            port=port,
            served_name=name,
            context=settings.context,
            gpu=environments.has_gpu(),
            threads=threads,
            # Merged versions need no adapters.
            adapters=self._adapters() if is_base else 0,
            template=await self._threads.run(settled, source, self._home.models)
            if is_base
            else None,
            traces=tracing.endpoint(os.environ),
        )

    @property
    def _timeout(self) -> float:
        """Start timeout in seconds."""
        return 600 if self._settings.engine == "vllm" else 180

    def _adapters(self) -> int:
        """Number of adapters that vLLM should hold. By default none on a CPU, where they are
        slow."""
        if self._settings.adapters is not None:
            return self._settings.adapters
        return 4 if environments.has_gpu() else 0

    async def _vllm(self, say: Callable[[str], None]) -> Path:
        """The Python of vLLM's environment, which is created on first use."""
        return await self._threads.run(environments.ensure_vllm, self._home.root, say)

    def _states(self, gguf: Path) -> Path | None:
        """Folder of llama.cpp's KV cache snapshots; None: none are kept."""
        if self._settings.prefill:
            with contextlib.suppress(OSError):  # without it, pages are prefilled after every start
                return llamacpp.states_folder(self._home.states, gguf)
        return None

    async def _convert(self, python: Path, gguf: Path, out: Path) -> None:
        """Convert a GGUF to a Hugging Face folder, in vLLM's environment. Skips completed
        conversions."""
        script = Path(__file__).parents[2] / "training" / "artefacts" / "convert.py"
        self._home.models.mkdir(exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *(str(python), str(script), str(gguf), str(out)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        last = ""
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                last = line.decode("utf-8", "replace").strip() or last
                self._tell(last)
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code:
            raise AskdocsError(f"{gguf} could not be converted for vLLM: {last}")

    def _tell(self, text: str) -> None:
        if self.stop.is_set():
            # Aborts an installation, which ends its installer on this error.
            raise AskdocsError("stopped")
        self._say("engine", text)


async def _ready(engine: Engine) -> bool:
    """Is the engine ready, and does it name its model? A busy machine may answer the second request
    late."""
    if await engine.is_ready():
        with contextlib.suppress(AskdocsError):
            await engine.model()
            return True
    return False


def default_threads() -> int:
    """Physical cores, or all cores if there are at most two."""
    logical = len(psutil.Process().cpu_affinity()) or 1
    return logical if logical <= 2 else min(logical, psutil.cpu_count(logical=False) or logical)
