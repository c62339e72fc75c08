"""Starts everything on one machine: engine, gateway, widget, and the wiki as a site."""

import asyncio
import contextlib
import dataclasses
import datetime
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import httpx
import psutil
import sqlalchemy as sa
from pydantic import SecretStr

from askdocs import checks, client, hanging, model, site, status
from askdocs.capacity import here
from askdocs.deployed import Deployed, Host
from askdocs.home import Home, read_json, write_json
from askdocs.settings import UpSettings
from askdocs.supervisor import LARGEST_LOG, Running, Say, Service
from askdocs.wiki import Wiki
from gateway import database, tracing, wiki_index
from gateway.config import GatewaySettings
from gateway.deployments import Kind
from gateway.engine import Engine
from gateway.engines import llamacpp, vllm
from gateway.engines.launch import Launch
from gateway.errors import AskdocsError
from gateway.settings import environment, load
from training import machine
from widget.settings import WidgetSettings

P = ParamSpec("P")
T = TypeVar("T")

# Under this many tokens of pages, one page is read for a question; a second would double the wait.
SEVERAL_PAGES = 6000
# Of the budgeted seconds, the share for reading; the rest is for the first sentence of the answer,
# because the gateway sends whole ones: 20 to 50 tokens, a second to one and a half on two cores.
FOR_READING = 0.7
# Tokens that are read beside the pages: instructions, question, and the section repeated with it.
BESIDE = 300
# Seconds in which a machine that is busy with the start may say that no model answers.
ANSWER = 30.0
# Seconds that answers have when all is stopped: the engine stops at the same time.
DRAIN = 3
# Seconds: a site that takes longer to build is not built while a wiki is edited.
QUICK = 20.0


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


class Up:
    """One run of `askdocs up`."""

    def __init__(self, settings: UpSettings, home: Home, say: Say) -> None:
        self._settings = settings
        self._home = home
        self._say = say
        self._running: dict[str, Running] = {}
        self._state: status.Running | None = None
        self._began = time.monotonic()
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._build_took = 0.0
        self._kept: Path | None = None
        self._deployed: Deployed | None = None

    async def run(self, ready: Callable[[status.Running, client.Answered, float], None]) -> None:
        """Start all, call `ready` once a real answer came back, run until a signal.

        Raises:
            AskdocsError: something cannot be started; all that was started is stopped.
        """
        if self._home.is_locked():
            raise self._home.taken()
        # A mistake in any section is said before anything heavy begins.
        self._gateway_settings = load(GatewaySettings)
        self._widget_settings = load(WidgetSettings)
        local = f"http://127.0.0.1:{self._settings.site_port}/"
        writing = wiki_index.opening(self._gateway_settings, self._home.index)
        say = partial(self._say, "wiki")
        self._wiki = Wiki(self._settings.docs, local, self._home.index, writing, say)
        # A site on the web is where it is.
        self._site_url = local if self._wiki.spec.folder else self._wiki.spec.place
        failed = [c for c in checks.before_start(self._settings, self._home) if not c.ok]
        if failed:
            raise AskdocsError("\n".join(check.line() for check in failed))
        self._home.make()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        with self._home.lock():
            self._finish_restore()
            try:
                starting = asyncio.create_task(self._start(ready))
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    assert self._deployed is not None
                    keeping = [
                        asyncio.create_task(self._keep()),
                        asyncio.create_task(self._deployed.follow()),
                    ]
                    while not (await asyncio.wait({stopping}, timeout=60))[0]:
                        rotate(self._home.logs / "access.log")
                    for task in keeping:
                        task.cancel()
                    await asyncio.gather(*keeping, return_exceptions=True)
                else:
                    self._stopping = True
                    self._wiki.stop.set()
                    starting.cancel()
                    await asyncio.gather(starting, return_exceptions=True)
                    for thread in self._threads:
                        await asyncio.to_thread(thread.join, 6)
                self._say("up", "stopping")
            finally:
                self._wiki.stop.set()
                await asyncio.gather(*(running.stop() for running in self._running.values()))
                self._home.running.unlink(missing_ok=True)

    def _finish_restore(self) -> None:
        """What `askdocs restore` has decided and a kill cut off. Raises AskdocsError."""
        from askdocs.backups import moves

        url = sa.make_url(self._database_url().get_secret_value())
        sqlite = url.get_backend_name() == "sqlite" and url.database
        file = Path(url.database) if sqlite and url.database else self._home.database
        if kept := moves.finish(moves.journal_of(file)):
            self._say("up", f"finished a restore that was cut off; what was there is in {kept}")

    async def _start(self, ready: Callable[[status.Running, client.Answered, float], None]) -> None:
        settings = self._settings
        engine = asyncio.ensure_future(self._engine())
        # Both before how fast the engine reads is measured: nothing else is at work then.
        await self._together(engine, self._in_thread(self._wiki.first))
        served = engine.result()
        rate = await self._prefill(served)
        budget = page_budget(rate, settings.first_token, served.context)
        self._state = status.Running(
            pid=psutil.Process().pid,
            started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            gateway=f"http://127.0.0.1:{settings.gateway_port}/v1",
            widget=f"http://127.0.0.1:{settings.widget_port}",
            site=self._site_url,
            engine=f"{settings.engine}" if served.own else "elsewhere",
            engine_url=served.url,
            model=served.name,
            docs=settings.docs,
            page_budget=budget,
            prefill_rate=round(rate, 1),
            processes={},
            ready=False,
            versions=self._kind(served),
        )
        self._save()
        # Before the gateway: it does not start with an alias that leads nowhere.
        await self._serve_versions(served)
        self._say("gateway", "starting LiteLLM's proxy (about ten seconds)")
        gateway, widget = self._gateway(served, rate, budget), self._widget()
        services = [self._service(gateway), self._service(widget)]
        if self._wiki.spec.folder:
            services.append(self._site())
        await self._together(*services)
        answered = await self._first_answer()
        self._state = self._replace(ready=True)
        self._save()
        ready(self._state, answered, time.monotonic() - self._began)

    async def _engine(self) -> Served:
        settings = self._settings

        def say(text: str) -> None:
            if self._stopping:
                # Stops an installation: it ends its installer when this raises.
                raise AskdocsError("stopped")
            self._say("engine", text)

        if settings.engine_url:
            url = settings.engine_url
            engine = Engine(url, self._engine_key(), settings.model)
            try:
                found = await engine.model()
                say(f"{found.id} at {url}")
                if found.context and await engine.kind() == "vllm":
                    await self._in_thread(here.after, url, found.context, say)
            except httpx.HTTPError as error:
                raise AskdocsError(f"the engine at {url} failed to answer: {error!r}") from None
            finally:
                await engine.close()
            # Servers that do not tell their context have one of 4,096 tokens at the very least.
            return Served(url, found.id, found.id, found.context or 4096, own=False)

        chosen = await self._in_thread(model.find, settings.model, settings.engine, say)
        port = checks.free_port()
        source = chosen.source
        if settings.engine == "vllm" and chosen.is_gguf:
            folder = self._home.models / model.folder_name(chosen)
            await self._convert(await self._vllm(say), Path(source), folder)
            source = str(folder)
        if settings.engine == "vllm":
            gpus = (await self._in_thread(machine.look)).gpus
            await self._in_thread(
                here.before, source, settings.context, self._adapters(), gpus, say
            )
        states = None if settings.engine == "vllm" else self._states(Path(source))
        launch = await self._launch(source, "base", port, say, states)
        url = f"http://127.0.0.1:{port}/v1"
        probe = Engine(url)
        service = Service(
            name="engine",
            argv=launch.argv,
            env=launch.env,
            log=self._home.logs / "engine.log",
            ready=probe.is_ready,
            timeout=600 if settings.engine == "vllm" else 180,
            hung=partial(hanging.hung, url),
        )
        self._say("engine", f"starting {settings.engine} with {chosen.name}")
        await self._service(service)
        found = await probe.model()
        if settings.engine == "vllm":
            await self._in_thread(here.after, url, settings.context, say)
        return Served(url, found.id, chosen.name, found.context or settings.context, own=True)

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
        from askdocs import environments

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

    def _adapters(self) -> int:
        """How many vLLM is to hold. On a CPU they are slow: none, unless somebody says so."""
        from askdocs import environments

        if self._settings.adapters is not None:
            return self._settings.adapters
        return 4 if environments.has_gpu() else 0

    async def _vllm(self, say: Callable[[str], None]) -> Path:
        """The interpreter of vLLM's environment, which is made at its first use."""
        from askdocs import environments

        return await self._in_thread(environments.ensure_vllm, self._home.root, say)

    def _kind(self, served: Served) -> Kind:
        """How this engine serves the versions of a model."""
        if not served.own:
            return "adapter"
        if self._settings.engine == "llama.cpp":
            return "gguf"
        return "adapter" if self._adapters() else "merged"

    async def _serve_versions(self, served: Served) -> None:
        """Serve again what was promoted. Raises AskdocsError: what is in use cannot be."""
        from askdocs import environments

        async def launch(name: str, source: Path, port: int) -> Launch:
            return await self._launch(str(source), name, port, partial(self._say, name))

        url = self._database_url().get_secret_value()
        migrating = database.open(url)
        try:
            await asyncio.to_thread(database.migrate, migrating)
        finally:
            migrating.dispose()
        stored = database.open(url, database.PATIENCE)
        host = Host(
            kind=self._kind(served),
            url=served.url,
            key=None if served.own else self._engine_key(),
            gpu=not served.own or environments.has_gpu(),
            launch=launch,
            timeout=600 if self._settings.engine == "vllm" else 180,
        )
        self._deployed = Deployed(stored, host, self._home, self._running, self._say, self._save)
        await self._deployed.begin(self._gateway_settings.aliases)

    def _database_url(self) -> SecretStr:
        return self._gateway_settings.database_url or SecretStr(f"sqlite:///{self._home.database}")

    def _states(self, gguf: Path) -> Path | None:
        """Where llama.cpp keeps what it has read of pages."""
        if self._settings.warm:
            with contextlib.suppress(OSError):  # without it, pages are read again at every start
                self._kept = llamacpp.states_folder(self._home.states, gguf)
        return self._kept

    async def _convert(self, python: Path, gguf: Path, out: Path) -> None:
        """GGUF to a Hugging Face folder, in vLLM's environment. Does nothing twice."""
        script = Path(__file__).parent.parent / "training" / "convert.py"
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
                self._say("engine", last)
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code:
            raise AskdocsError(f"{gguf} could not be converted for vLLM: {last}")

    async def _prefill(self, served: Served) -> float:
        """Tokens per second that the engine reads; kept for later starts when it can be trusted."""
        settings = self._settings
        where = served.url if not served.own else settings.engine
        threads = settings.threads or default_threads()
        about = f"{where} {settings.model or model.SHIPPED} {threads} {platform.node()}"
        stored = read_json(self._home.prefill) or {}
        if stored.get("about") == about:
            return float(stored["tokens_per_second"])
        self._say("engine", "measuring how fast it reads")
        engine = self._client(served)
        # Nothing of ours works now: on a machine that is busy with other things the rate says
        # little about the next start, and is measured again then.
        busy = served.own and await asyncio.to_thread(psutil.cpu_percent, 0.3) > 50
        try:
            # The first request of an engine pays for its warm-up.
            await engine.measure_prefill(words=30)
            rate = max([await engine.measure_prefill() for _ in range(2)])
        except httpx.HTTPError as error:
            raise AskdocsError(
                f"the engine at {served.url} failed a first request: {error}"
            ) from None
        finally:
            await engine.close()
        if busy:
            self._say("engine", "the machine is busy: reading is measured again at the next start")
            return rate
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        write_json(
            self._home.prefill,
            {"about": about, "tokens_per_second": round(rate, 1), "measured": today},
        )
        return rate

    def _client(self, served: Served) -> Engine:
        return Engine(served.url, self._engine_key() if not served.own else None, served.id)

    def _engine_key(self) -> str | None:
        secret = self._gateway_settings.engine_key
        return secret.get_secret_value() if secret else None

    def _gateway(self, served: Served, rate: float, budget: int) -> Service:
        settings = self._settings
        answers = settings.answers
        if answers == "auto":
            answers = "quote" if served.own and settings.model is None else "write"
        # A quotation is of one section; more pages only make it easier to pick the wrong one.
        max_pages = 1 if budget < SEVERAL_PAGES or answers == "quote" else 3
        self._state = self._replace(max_pages=max_pages)
        configured = load(
            GatewaySettings,
            port=settings.gateway_port,
            key=SecretStr(self._home.key()),
            database_url=self._database_url(),
            access_log=self._gateway_settings.access_log or str(self._home.logs / "access.log"),
            engine_url=served.url,
            engine_model=served.id,
            model_name=served.name,
            site_url=self._site_url,
            index=self._home.index,
            page_budget=budget,
            warm_page=warm_page(rate, settings.first_token, served.context),
            max_pages=max_pages,
            prefill_rate=rate,
            answers=answers,
            warm=served.own and settings.warm,
            states=self._kept,
            drain=DRAIN,
        )
        root = f"http://127.0.0.1:{settings.gateway_port}"
        return Service(
            name="gateway",
            argv=[sys.executable, "-m", "gateway"],
            env={
                **environment(configured),
                "ASKDOCS_GATEWAY_DOCS": "",  # this process reads the wiki
                "ASKDOCS_HOME": str(self._home.root),
            },
            log=self._home.logs / "gateway.log",
            ready=lambda: _answers(f"{root}/ready"),
            timeout=180,
        )

    def _widget(self) -> Service:
        settings = self._settings
        ports = (settings.site_port, settings.widget_port)
        ours = [f"http://{host}:{port}" for port in ports for host in ("127.0.0.1", "localhost")]
        configured = load(
            WidgetSettings,
            port=settings.widget_port,
            gateway_url=f"http://127.0.0.1:{settings.gateway_port}/v1",
            gateway_key=SecretStr(self._home.key()),
            database_url=self._database_url(),
            index=self._widget_settings.index or self._home.index,
            origins=(*self._widget_settings.origins, *ours, *self._wiki.origins),
        )
        return Service(
            name="widget",
            argv=[sys.executable, "-m", "widget"],
            env=environment(configured),
            log=self._home.logs / "widget.log",
            ready=lambda: _answers(f"http://127.0.0.1:{settings.widget_port}/health"),
            timeout=180,  # beside a gateway that starts
        )

    async def _site(self) -> None:
        folder = self._wiki.spec.folder
        assert folder is not None
        if self._wiki.spec.kind == "preview":
            await self._build()
            folder = self._home.site
        await self._service(
            Service(
                name="site",
                argv=[
                    *(sys.executable, "-m", "askdocs.site"),
                    *("--root", str(folder), "--port", str(self._settings.site_port)),
                ],
                log=self._home.logs / "site.log",
                ready=lambda: _answers(self._site_url),
                timeout=60,
            )
        )

    async def _keep(self) -> None:
        """Answers, and the site where that is quick, follow the wiki."""
        loop = asyncio.get_running_loop()

        def changed() -> None:
            if self._wiki.spec.kind == "preview":
                asyncio.run_coroutine_threadsafe(self._rebuild(), loop).result()

        await self._in_thread(self._wiki.keep, changed)

    async def _rebuild(self) -> None:
        if self._build_took > QUICK:
            self._say("site", "shows the change after the next start")
            return
        try:
            await self._build()
        except AskdocsError as error:
            self._say("site", str(error))

    async def _build(self) -> None:
        folder = self._wiki.spec.folder
        assert folder is not None
        widget = f"http://127.0.0.1:{self._settings.widget_port}"
        began = time.monotonic()
        if await site.build(folder, self._home, self._site_url, widget):
            self._build_took = time.monotonic() - began
            self._say("site", f"built in {self._build_took:.0f} s")
        await self._in_thread(self._wiki.write_texts, self._home.site)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As asyncio.to_thread, in a thread that does not hold up the end of the process."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if not future.done():
                if error:
                    future.set_exception(error)
                else:
                    future.set_result(cast(T, result))

        def run() -> None:
            result, failed = None, None
            try:
                result = work(*args, **kwargs)
            except BaseException as error:
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(settle, result, failed)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return await future

    async def _service(self, service: Service) -> None:
        began = time.monotonic()
        running = Running(service, self._say, self._save)
        self._running[service.name] = running
        await running.start()
        self._say(service.name, f"ready in {time.monotonic() - began:.1f} s")

    async def _together(self, *parts: Awaitable[object]) -> None:
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _first_answer(self) -> client.Answered:
        """A real answer through every part. Raises AskdocsError."""
        assert self._state is not None
        url, key = self._state.gateway, self._home.key()
        title = await asyncio.to_thread(self._wiki.shortest_title)
        until = time.monotonic() + ANSWER
        while True:
            try:
                return await asyncio.to_thread(_ask_once, url, key, f"What is {title}?")
            except client.Unavailable:
                # An engine that is slow to take a connection counts as away for a while.
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(1)

    def _replace(self, **changes: Any) -> status.Running:
        assert self._state is not None
        return dataclasses.replace(self._state, **changes)

    def _save(self) -> None:
        if self._state is not None:
            pids = {name: running.pid for name, running in self._running.items()}
            self._state = self._replace(processes=pids)
            self._state.save(self._home)


def _ask_once(url: str, key: str, question: str) -> client.Answered:
    """The answer to `question`; where the wiki refuses without asking the model, ask that alone."""
    headers = {"Authorization": f"Bearer {key}"}
    *_, (_, answered) = client.ask(url, key, question)
    assert isinstance(answered, client.Answered)
    if answered.refused:
        body = {
            "model": "base",
            "max_tokens": 8,
            "messages": [{"role": "user", "content": "Say hello."}],
        }
        reply = httpx.post(f"{url}/chat/completions", json=body, headers=headers, timeout=120)
        if reply.status_code != 200 or not reply.json()["usage"]["completion_tokens"]:
            raise AskdocsError(f"the engine gave no answer: {reply.text[:300]}")
    return answered


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient() as http:
            return (await http.get(url, timeout=5)).status_code == 200
    except httpx.HTTPError:
        return False


def default_threads() -> int:
    """Physical cores, or all where there are two or fewer."""
    logical = len(psutil.Process().cpu_affinity()) or 1
    return logical if logical <= 2 else min(logical, psutil.cpu_count(logical=False) or logical)


def rotate(log: Path, largest: int = LARGEST_LOG) -> None:
    """Rename a log that has grown too large; its writer begins a new one (access_log.py)."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > largest:
            log.replace(log.with_name(f"{log.name}.1"))


def page_budget(rate: float, seconds: float, context: int) -> int:
    """Tokens of pages that the engine reads in time for a first sentence, within its context."""
    in_time = int(rate * seconds * FOR_READING) - BESIDE
    return max(300, min(in_time, _room(context)))


def warm_page(rate: float, seconds: float, context: int) -> int:
    """Tokens of a page that the engine has read ahead. It may have forgotten it: reading alone
    takes no longer than the whole of the time."""
    return max(0, min(int(rate * seconds) - BESIDE, _room(context)))


def _room(context: int) -> int:
    """Tokens for pages beside an answer, the instructions, a question, a short conversation."""
    return context - 256 - 1000
