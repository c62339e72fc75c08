"""Starts everything on one machine: engine, gateway, widget, and the wiki as a site."""

import asyncio
import contextlib
import dataclasses
import datetime
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from pydantic import SecretStr

from askdocs.clients import question as client
from askdocs.state.home import Home
from askdocs.supervision import autocomplete, checks, status
from askdocs.supervision.autocomplete import CodeModel
from askdocs.supervision.budget import page_budget, prefill_page
from askdocs.supervision.deployed import Deployed, Host
from askdocs.supervision.engine import Served, UpEngine
from askdocs.supervision.settings import UpSettings
from askdocs.supervision.supervisor import LARGEST_LOG, Running, Say, Service
from askdocs.supervision.threads import Threads
from askdocs.terminal import stopping
from askdocs.wikis import site
from askdocs.wikis.wiki import Wiki
from core import database
from core.errors import AskdocsError
from core.openai_client import say_hello
from core.settings import environment, load
from core.tasks import Failures, Tasks
from gateway.runtime import index_keeper
from gateway.settings import GatewaySettings, ModelEntry
from widget.settings import WidgetSettings

# Seconds during which a machine busy with starting may report that no model answers.
ANSWER = 30.0
# Maximum tokens of a generated first answer: "ready" does not wait for a long one.
FIRST_TOKENS = 96
# Seconds after which a running step is announced.
SILENT = 2.0
# Seconds that running answers get at shutdown: the engine stops at the same time.
DRAIN = 3
# Seconds: a site that takes longer to build is not rebuilt while a wiki is edited.
QUICK = 20.0

T = TypeVar("T")


class Up:
    """A run of `askdocs up`."""

    def __init__(self, settings: UpSettings, home: Home, say: Say) -> None:
        self._settings = settings
        self._home = home
        self._say = say
        self._running: dict[str, Running] = {}
        self._state: status.Running | None = None
        self._began = time.monotonic()
        self._threads = Threads()
        self._failures = Failures(home.root, "up")
        self._tasks = Tasks(self._failed, self._failures.started)
        self._build_took = 0.0
        self._deployed: Deployed | None = None
        self._served: Served | None = None

    async def run(self, ready: Callable[[status.Running, client.Answered, float], None]) -> None:
        """Start everything, call `ready` after a successful test question, run until a signal.

        Raises:
            AskdocsError: a part cannot be started; all others are stopped again.
        """
        if self._home.is_locked():
            raise self._home.taken()
        # Report mistakes in any section before heavy work begins.
        self._gateway_settings = load(GatewaySettings)
        self._widget_settings = load(WidgetSettings)
        database.open(self._database_url().get_secret_value())
        local = f"http://127.0.0.1:{self._settings.site_port}/"
        writing = index_keeper.opening(self._gateway_settings, self._home.index)
        say = partial(self._say, "wiki")
        self._wiki = Wiki(self._settings.docs, local, self._home.index, writing, say)
        key = self._gateway_settings.engine_key
        self._engine = UpEngine(
            self._settings, key, self._home, self._threads, self._service, self._say
        )
        # A site on the web has its own address.
        self._site_url = local if self._wiki.spec.folder else self._wiki.spec.place
        failed = [c for c in checks.before_start(self._settings, self._home) if not c.ok]
        if failed:
            raise AskdocsError("\n".join(check.line() for check in failed))
        self._home.make()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in stopping.STOPS:
            # Under nohup, ignore the end of the terminal.
            if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
                loop.add_signal_handler(number, stop.set)
        with self._home.lock():
            try:
                starting = asyncio.create_task(self._start(ready))
                stopped = asyncio.create_task(stop.wait())
                await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    assert self._deployed is not None
                    assert self._served is not None
                    self._tasks.start("wiki", self._keep)
                    self._tasks.start("versions", self._deployed.follow)
                    self._tasks.start("reading", partial(self._engine.observe, self._served))
                    self._tasks.start("logs", self._tend)
                    await stopped
                    await self._tasks.close()
                else:
                    self._engine.stop.set()
                    self._wiki.stop.set()
                    starting.cancel()
                    await asyncio.gather(starting, return_exceptions=True)
                    await self._threads.join()
                self._say("up", "stopping")
            finally:
                self._wiki.stop.set()
                await asyncio.gather(*(running.stop() for running in self._running.values()))
                self._home.running.unlink(missing_ok=True)

    async def _tend(self) -> None:
        """Rotate the access log, and keep the status file up to date."""
        while True:
            await asyncio.sleep(60)
            rotate(self._home.logs / "access.log")
            if self._state and self._state.degraded != self._tasks.failing:
                self._save()

    def _failed(self, task: str) -> None:
        self._save()
        self._failures.failed(task)

    async def _start(self, ready: Callable[[status.Running, client.Answered, float], None]) -> None:
        """Start everything in parallel as far as dependencies allow: imports take most of the
        time."""
        served = asyncio.ensure_future(self._engine.find())
        indexed = asyncio.ensure_future(self._first_look())
        opened = asyncio.ensure_future(self._threads.run(self._open_database))
        started = asyncio.ensure_future(self._engine_of(served))
        coding = asyncio.ensure_future(self._code_model())
        rest = self._rest(served, indexed, opened, started, coding)
        parts = [served, indexed, opened, started, coding, rest]
        if self._wiki.spec.folder:
            parts.append(self._site(indexed))
        await self._together(*parts)
        answered = await self._first_answer()
        self._state = self._replace(ready=True, question=answered.question)
        self._save()
        ready(self._state, answered, time.monotonic() - self._began)

    async def _first_look(self) -> None:
        async with self._announced("wiki", f"reading {self._settings.docs}"):
            await self._threads.run(self._wiki.first)

    async def _engine_of(self, served: Awaitable[Served]) -> Served:
        return await self._engine.start(await served)

    async def _code_model(self) -> CodeModel | None:
        """The autocomplete model, started unless it runs elsewhere."""
        wanted = self._settings.autocomplete
        if wanted is None:
            return None
        code_model = await autocomplete.find(wanted, self._home.logs, self._threads, self._say)
        if code_model.service is not None:
            await self._service(code_model.service)
        await code_model.check()
        self._say(autocomplete.NAME, f"autocomplete uses {code_model.name}")
        return code_model

    async def _rest(
        self,
        engine_found: Awaitable[Served],
        indexed: Awaitable[None],
        opened: Awaitable[None],
        started: Awaitable[Served],
        coding: Awaitable[CodeModel | None],
    ) -> None:
        """Start gateway and widget."""
        settings = self._settings
        served = await engine_found
        # askdocs sets llama.cpp's context; other engines report theirs.
        if not (served.own and settings.engine == "llama.cpp"):
            served = await started
        await opened
        self._served = served
        rate = await self._engine.prefill(served)
        budget = page_budget(rate, settings.first_token, served.context)
        host = self._engine.host(served)
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
            processes={},
            ready=False,
            versions=host.kind,
        )
        self._save()
        await indexed
        # Before the gateway, which does not start with an alias without a model.
        await self._serve_versions(host)
        gateway = self._gateway(served, rate, budget, await coding)
        widget = self._widget()
        await self._together(self._service(gateway), self._service(widget))

    @contextlib.asynccontextmanager
    async def _announced(self, name: str, text: str) -> AsyncIterator[None]:
        """Announce a step once it takes noticeably long."""
        loop = asyncio.get_running_loop()
        waiting = loop.call_later(SILENT, self._say, name, f"{text} ...")
        try:
            yield
        finally:
            waiting.cancel()

    def _open_database(self) -> None:
        """Migrate and check the database. Raises AskdocsError: it is damaged or unavailable."""
        engine = database.open(self._database_url().get_secret_value())
        try:
            database.migrate(engine)
            database.look_for_damage(engine)
        finally:
            engine.dispose()

    async def _serve_versions(self, host: Host) -> None:
        """Resume serving promoted versions. Raises AskdocsError: a version in use cannot be
        served."""
        stored = database.open(self._database_url().get_secret_value(), database.PATIENCE)
        self._deployed = Deployed(
            stored, host, self._home, self._running, self._say, self._save, self._tasks
        )
        await self._deployed.begin(self._gateway_settings.aliases)

    def _database_url(self) -> SecretStr:
        return self._gateway_settings.database_url or SecretStr(f"sqlite:///{self._home.database}")

    def _gateway(self, served: Served, rate: float, budget: int, code: CodeModel | None) -> Service:
        settings = self._settings
        models = dict(self._gateway_settings.models)
        if code is not None:
            models[code.name] = ModelEntry(url=code.url)
        answers = settings.answers
        if answers == "auto":
            answers = "quote" if served.own and settings.model is None else "write"
        configured = load(
            GatewaySettings,
            port=settings.gateway_port,
            key=SecretStr(self._home.key()),
            database_url=self._database_url(),
            access_log=self._gateway_settings.access_log or str(self._home.logs / "access.log"),
            models=models,
            engine_url=served.url,
            engine_model=served.id,
            model_name=served.name,
            site_url=self._site_url,
            index=self._home.index,
            page_budget=budget,
            prefill_page=prefill_page(rate, settings.first_token, served.context),
            answers=answers,
            prefill=served.own and settings.prefill,
            states=served.states,
            drain=DRAIN,
        )
        root = f"http://127.0.0.1:{settings.gateway_port}"
        return Service(
            name="gateway",
            argv=[sys.executable, "-P", "-m", "gateway"],
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
            argv=[sys.executable, "-P", "-m", "widget"],
            env=environment(configured),
            log=self._home.logs / "widget.log",
            ready=lambda: _answers(f"http://127.0.0.1:{settings.widget_port}/health"),
            timeout=180,  # while the gateway starts, too
        )

    async def _site(self, indexed: Awaitable[None]) -> None:
        folder = self._wiki.spec.folder
        assert folder is not None
        if self._wiki.spec.kind == "preview":
            await self._build(indexed)
            folder = self._home.site
        await self._service(
            Service(
                name="site",
                argv=[
                    *(sys.executable, "-P", "-m", "askdocs.wikis.site"),
                    *("--root", str(folder), "--port", str(self._settings.site_port)),
                    *("--widget-url", f"http://127.0.0.1:{self._settings.widget_port}"),
                    *(("--html",) if self._wiki.spec.kind != "preview" else ()),
                    *(f"--name={name}" for name in self._settings.site_hosts),
                ],
                log=self._home.logs / "site.log",
                ready=lambda: _answers(self._site_url.rstrip("/") + site.HEALTH),
                timeout=60,
            )
        )

    async def _keep(self) -> None:
        """Keep answers, and a site that builds quickly, in step with the wiki."""
        loop = asyncio.get_running_loop()

        def changed() -> None:
            if self._wiki.spec.kind == "preview":
                asyncio.run_coroutine_threadsafe(self._rebuild(), loop).result()

        feed_failed = partial(self._tasks.count_failure, index_keeper.FEED)
        if self._wiki.spec.is_followed:
            self._tasks.started(index_keeper.FEED)
        await self._threads.run(self._wiki.keep, changed, feed_failed)

    async def _rebuild(self) -> None:
        folder = self._wiki.spec.folder
        assert folder is not None
        # A page that is closed must leave the site at once.
        if self._build_took > QUICK and not site.has_rights(folder, self._gateway_settings.rules):
            self._say("site", "will show the change after a restart")
            return
        try:
            await self._build(_nothing())
        except AskdocsError as error:
            self._say("site", str(error))

    async def _build(self, indexed: Awaitable[None]) -> None:
        folder = self._wiki.spec.folder
        assert folder is not None
        widget = f"http://127.0.0.1:{self._settings.widget_port}"
        began = time.monotonic()
        say = partial(self._say, "site")
        async with self._announced("site", "building the pages"):
            rules = self._gateway_settings.rules
            built = await site.build(folder, self._home, self._site_url, widget, say, rules)
        if built:
            self._build_took = time.monotonic() - began
            self._say("site", f"built in {self._build_took:.0f} s")
        await indexed
        await self._threads.run(self._wiki.write_texts, self._home.site)

    async def _service(self, service: Service) -> None:
        began = time.monotonic()
        running = Running(service, self._say, self._save, self._tasks)
        self._running[service.name] = running
        async with self._announced(service.name, "starting"):
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
        """The answer to a test question through all parts. Raises AskdocsError."""
        assert self._state is not None
        url, key = self._state.gateway, self._home.key()
        questions = await asyncio.to_thread(self._wiki.questions)
        answered = None
        for question in questions:
            async with self._announced("up", f"asking it: {question}"):
                ask = partial(client.whole, url, key, question, FIRST_TOKENS)
                answered = await self._ask(ask)
            if not answered.refused:
                return answered
        # No heading works as a question: test the model alone.
        await self._ask(partial(say_hello, url, "base", key))
        return answered or client.Answered()

    async def _ask(self, ask: Callable[[], T]) -> T:
        until = time.monotonic() + ANSWER
        while True:
            try:
                return await asyncio.to_thread(ask)
            except client.Unavailable:
                # An engine slow to accept connections counts as unavailable for a while.
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.5)

    def _replace(self, **changes: Any) -> status.Running:
        assert self._state is not None
        return dataclasses.replace(self._state, **changes)

    def _save(self) -> None:
        if self._state is not None:
            pids = {name: running.pid for name, running in self._running.items()}
            self._state = self._replace(processes=pids, degraded=self._tasks.failing)
            self._state.save(self._home)


async def _nothing() -> None:
    """An awaitable without work."""


# Shared, because a client loads all CA certificates, which takes 8 ms: a tenth of a core while
# three parts start.
_tls = cache(httpx.create_ssl_context)


async def _answers(url: str) -> bool:
    try:
        # Everything is local: bypass a proxy from the environment.
        async with httpx.AsyncClient(verify=_tls(), trust_env=False) as http:
            return (await http.get(url, timeout=5)).status_code == 200
    except httpx.HTTPError:
        return False


def rotate(log: Path, largest: int = LARGEST_LOG) -> None:
    """Rename a log that has grown too large; its writer starts a new file (access_log.py)."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > largest:
            log.replace(log.with_name(f"{log.name}.1"))
