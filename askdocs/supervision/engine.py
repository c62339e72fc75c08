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
from gateway.core.errors import AskdocsError
from gateway.routing.deployments import ArtefactKind
from gateway.telemetry import tracing
from gateway.upstream.engine import Engine
from gateway.upstream.engines import llamacpp, vllm
from gateway.upstream.engines.launch import Launch
from training.plan import machine

# Tokens that must have been read before they say how fast the engine reads, and seconds between
# looks at how many it has read.
ENOUGH = 2000
LOOK = 20.0
# Seconds that an engine elsewhere has for a first prompt of as many words.
PROBE = 3.0
WORDS = 300


@dataclass(frozen=True)
class Served:
    """The engine as the gateway sees it."""

    url: str
    id: str
    """The model's name at the engine."""
    name: str
    """The model's name for people."""
    context: int
    own: bool
    """Did we start it?"""
    states: Path | None = None
    """Where llama.cpp keeps what it has read of pages."""
    source: str = ""
    """A path or a hub id; "" where the engine runs elsewhere."""
    size: int | None = None
    """Bytes of its weights on this machine, where they are here."""


class UpEngine:
    """The engine of one `askdocs up`."""

    def __init__(
        self,
        settings: UpSettings,
        key: SecretStr | None,
        home: Home,
        threads: Threads,
        start: Callable[[Service], Awaitable[None]],
        say: Say,
    ) -> None:
        """`key` is of an engine elsewhere; `start` starts a process and waits until it is ready."""
        self._settings = settings
        self._key = key.get_secret_value() if key else None
        self._home = home
        self._threads = threads
        self._start = start
        self._say = say
        self.stop = threading.Event()
        """Ends an installation that is under way, once it is set."""

    async def find(self) -> Served:
        """What is served once `start` has ended. Raises AskdocsError."""
        if self._settings.engine_url:
            return await self._elsewhere(self._settings.engine_url)
        return await self._prepare()

    async def start(self, served: Served) -> Served:
        """Start it, unless it runs elsewhere; what it says of itself. Raises AskdocsError."""
        return await self._own(served) if served.own else served

    async def prefill(self, served: Served) -> float:
        """Tokens per second that the engine reads: as earlier questions have shown, or assumed.

        An engine elsewhere, of which nothing is known, reads a few lines first, for PROBE seconds
        at most. Raises AskdocsError: it cannot.
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
        """Keep how fast it reads the questions of its users, for later starts; until cancelled."""
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
                    before = now  # it has been started, or started again
                await asyncio.sleep(LOOK)
        finally:
            await engine.close()

    async def _probe(self, served: Served) -> float:
        engine = Engine(served.url, self._key, served.id)
        began = time.monotonic()
        try:
            rate = await asyncio.wait_for(engine.measure_prefill(WORDS), PROBE)
        except TimeoutError:
            rate = WORDS / PROBE  # or less
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
        with contextlib.suppress(AskdocsError):  # the disk is full: it is seen again
            write_json(self._home.prefill, stored)

    def _about(self, served: Served) -> str:
        """What the speed belongs to."""
        settings = self._settings
        where = settings.engine if served.own else served.url
        threads = settings.threads or default_threads()
        return f"{where} {settings.model or model.SHIPPED} {threads} {platform.node()}"

    def host(self, served: Served) -> Host:
        """How the versions of a model are served beside it, or by it."""

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
        """How this engine serves the versions of a model."""
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
        # Servers that do not tell their context have one of 4,096 tokens at the very least.
        return Served(url, listed.id, listed.id, listed.context or 4096, own=False)

    async def _prepare(self) -> Served:
        """The model on this machine, in the form that its engine takes."""
        settings, in_thread = self._settings, self._threads.run
        chosen = await in_thread(model.find, settings.model, settings.engine, self._tell)
        source = chosen.source
        if settings.engine == "vllm" and chosen.is_gguf:
            folder = self._home.models / model.folder_name(chosen)
            await self._convert(await self._vllm(self._tell), Path(source), folder)
            source = str(folder)
        states = None if settings.engine == "vllm" else self._states(Path(source))
        # Those of the settings are bound later.
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
            # By now: the start of the engine, which has a limit, would include the download.
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
        return vllm.launch(
            await self._vllm(say),
            source,
            port=port,
            served_name=name,
            context=settings.context,
            gpu=environments.has_gpu(),
            threads=threads,
            # Versions that are merged have none.
            adapters=self._adapters() if name == "base" else 0,
            traces=tracing.endpoint(os.environ),
        )

    @property
    def _timeout(self) -> float:
        """Seconds that a start may take."""
        return 600 if self._settings.engine == "vllm" else 180

    def _adapters(self) -> int:
        """How many vLLM is to hold. On a CPU they are slow: none, unless somebody says so."""
        if self._settings.adapters is not None:
            return self._settings.adapters
        return 4 if environments.has_gpu() else 0

    async def _vllm(self, say: Callable[[str], None]) -> Path:
        """The interpreter of vLLM's environment, which is made at its first use."""
        return await self._threads.run(environments.ensure_vllm, self._home.root, say)

    def _states(self, gguf: Path) -> Path | None:
        """Where llama.cpp keeps what it has read of pages."""
        if self._settings.warm:
            with contextlib.suppress(OSError):  # without it, pages are read again at every start
                return llamacpp.states_folder(self._home.states, gguf)
        return None

    async def _convert(self, python: Path, gguf: Path, out: Path) -> None:
        """GGUF to a Hugging Face folder, in vLLM's environment. Does nothing twice."""
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
            # Stops an installation: it ends its installer when this raises.
            raise AskdocsError("stopped")
        self._say("engine", text)


async def _ready(engine: Engine) -> bool:
    """Is it, and has it named its model? A busy machine may be slow to take the second question."""
    if await engine.is_ready():
        with contextlib.suppress(AskdocsError):
            await engine.model()
            return True
    return False


def default_threads() -> int:
    """Physical cores, or all where there are two or fewer."""
    logical = len(psutil.Process().cpu_affinity()) or 1
    return logical if logical <= 2 else min(logical, psutil.cpu_count(logical=False) or logical)
