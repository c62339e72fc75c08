"""The part of `askdocs up` that serves the versions listed in the deployments table.

A version runs in its own process beside the engine (llama.cpp with its GGUF file, or vLLM with its
merged weights), or its adapter is loaded into the running vLLM under the version's name. Versions
requested by `askdocs models promote` start without interrupting others. Versions that are no longer
needed finish their open streams first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa

from askdocs.state.home import Home
from askdocs.supervision import checks, hanging
from askdocs.supervision.supervisor import Running, Say, Service
from core.errors import AskdocsError
from core.tasks import Tasks
from gateway.routing import deployments, promotions
from gateway.routing.deployments import ArtefactKind, Deployment
from gateway.settings import Alias
from gateway.upstream.engine import Engine
from gateway.upstream.engines import adapters
from gateway.upstream.engines.launch import Launch
from training.versions.open import open_store
from training.versions.store import Store

LOOK = 0.5  # seconds between two polls of the table
# Every gateway polls the table twice a second: after this long, none sends new requests.
FORGOTTEN = 2.0
LONGEST = 600.0  # seconds that open streams may continue
# Minimum bytes of memory besides the weights: a context of 16,000 tokens takes 0.4 GiB with a 135M
# model, and the engine itself 0.1 GiB.
BESIDE = 2**29


@dataclass(frozen=True)
class Host:
    """The engine that serves versions, or beside which they are served."""

    kind: ArtefactKind
    """How it serves a version."""
    url: str
    key: str | None
    gpu: bool
    launch: Callable[[str, Path, int], Awaitable[Launch]]
    """Builds the command that serves a file or folder under a name on a port, like the engine."""
    timeout: float
    """Start timeout in seconds."""


class Deployed:
    """The versions that an `askdocs up` serves."""

    def __init__(
        self,
        database: sa.Engine,
        host: Host,
        home: Home,
        running: dict[str, Running],
        say: Say,
        changed: Callable[[], None],
        tasks: Tasks | None = None,
    ) -> None:
        """`running` receives the processes by version; `changed` is called for new ones; `tasks`
        are the supervisor's."""
        self._database = database
        self._host = host
        self._home = home
        self._running = running
        self._say = say
        self._changed = changed
        self._supervising = tasks
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()
        self._loading = asyncio.Lock()

    async def begin(self, configured: Mapping[str, Alias]) -> None:
        """Resume serving the versions from before the start.

        Raises:
            AskdocsError: a version that an alias uses cannot be served.
        """
        needed = await asyncio.to_thread(promotions.all_needed, self._database, configured)
        await asyncio.to_thread(deployments.begin_again, self._database, needed)
        for deployment in await self._table():
            await self._bring(deployment)
        used = await asyncio.to_thread(promotions.in_use, self._database, configured)
        for deployment in await self._table():
            if deployment.state == "failed" and deployment.name in used:
                raise AskdocsError(
                    f"{deployment.name}: {deployment.message}; or roll back with `askdocs models "
                    f"rollback --alias {used[deployment.name]}`"
                )

    async def follow(self) -> None:
        """Apply the table's changes until cancelled."""
        failing = False
        try:
            while True:
                try:
                    self._forget_ended()
                    for deployment in await self._table():
                        self._look_at(deployment)
                    failing = False
                except AskdocsError as error:
                    if not failing:
                        self._say("up", f"the versions are unchanged: {error}")
                    failing = True
                await asyncio.sleep(LOOK)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._stopping.clear()

    def _look_at(self, deployment: Deployment) -> None:
        task = self._tasks.get(deployment.name)
        if deployment.state == "stopping" and deployment.name not in self._stopping:
            if task is not None:
                task.cancel()
            self._stopping.add(deployment.name)
            self._begin(deployment.name, self._end(deployment))
        elif task is None and deployment.state == "wanted":
            self._begin(deployment.name, self._bring(deployment))
        elif task is None and deployment.state == "ready" and deployment.kind == "adapter":
            self._begin(deployment.name, self._load_again(deployment))

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except AskdocsError as error:  # the database is unavailable: the table is polled again
                self._say("up", f"{name}: {error}")

        self._tasks[name] = asyncio.create_task(run())

    def _forget_ended(self) -> None:
        """Re-raise unexpected errors of ended tasks: `follow` then fails and is restarted."""
        for name, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[name]
                if not task.cancelled():
                    task.result()

    async def _bring(self, deployment: Deployment) -> None:
        """Serve a wanted version; record its URL or the error in the table."""
        name = deployment.name
        try:
            url = await (
                self._load(deployment) if self._host.kind == "adapter" else self._start(deployment)
            )
        except (AskdocsError, OSError) as error:
            self._say(name, f"cannot be served: {error}")
            await asyncio.to_thread(deployments.fail, self._database, name, str(error))
            return
        wanted = await asyncio.to_thread(
            deployments.ready, self._database, name, self._host.kind, url, name
        )
        if not wanted:
            await self._take_away(name)

    async def _load(self, deployment: Deployment) -> str:
        """Load its adapter into the engine; returns the API's base URL. Raises AskdocsError."""
        host = self._host
        await self._tell(deployment.name, "checking its files")
        store = open_store(deployment.source, self._home.root)
        folder = await asyncio.to_thread(store.fetch, deployment.name)
        await self._tell(deployment.name, "loading")
        async with self._loading:
            await adapters.load(
                host.url, host.key, deployment.name, folder / "adapter", gpu=host.gpu
            )
        return host.url

    async def _load_again(self, deployment: Deployment) -> None:
        """Load the adapter again if the engine lost it in a restart."""
        engine = Engine(self._host.url, self._host.key)
        try:
            if await engine.is_ready() and deployment.name not in await engine.listed():
                await self._load(deployment)
        finally:
            await engine.close()
            await asyncio.sleep(FORGOTTEN)

    async def _start(self, deployment: Deployment) -> str:
        """Start its own process; returns the API's base URL. Raises AskdocsError."""
        await self._tell(deployment.name, "checking its files")
        store = open_store(deployment.source, self._home.root)
        artefact = await asyncio.to_thread(derived, store, deployment.name, self._host.kind)
        folder = await asyncio.to_thread(store.fetch, deployment.name, artefact)
        model = next(folder.glob("*.gguf"), None) if self._host.kind == "gguf" else folder
        if model is None:
            raise AskdocsError(
                f"{folder}: has no GGUF file: remove the artefact, and export"
                f" {deployment.name} again"
            )
        check_memory(deployment.name, model, psutil.virtual_memory().available)
        await self._tell(deployment.name, "starting")
        port = checks.free_port()
        launch = await self._host.launch(deployment.name, model, port)
        url = f"http://127.0.0.1:{port}/v1"
        engine = Engine(url)
        service = Service(
            name=deployment.name,
            argv=launch.argv,
            env=launch.env,
            log=self._home.logs / f"{deployment.name}.log",
            ready=engine.is_ready,
            timeout=self._host.timeout,
            hung=partial(hanging.hung, url),
        )
        running = Running(service, self._say, self._changed, self._supervising)
        try:
            await running.start()
        except BaseException:
            await running.stop()
            raise
        self._running[deployment.name] = running
        self._changed()
        self._say(deployment.name, "ready")
        return url

    async def _end(self, deployment: Deployment) -> None:
        """Stop a version after its last requests."""
        try:
            began = datetime.now(UTC)
            await asyncio.sleep(FORGOTTEN)
            # For an adapter, vLLM itself ends the open answers.
            while (
                deployment.url is not None
                and deployment.kind != "adapter"
                and await working(deployment.url)
            ):
                if (datetime.now(UTC) - began).total_seconds() > LONGEST:
                    self._say(deployment.name, "is stopped while it answers")
                    break
                await asyncio.sleep(LOOK)
            if await asyncio.to_thread(deployments.forget, self._database, deployment.name):
                await asyncio.sleep(FORGOTTEN)
                await self._take_away(deployment.name)
        finally:
            self._stopping.discard(deployment.name)

    async def _take_away(self, name: str) -> None:
        if running := self._running.pop(name, None):
            await running.stop()
            self._changed()
        elif self._host.kind == "adapter":
            async with self._loading:
                await adapters.unload(self._host.url, self._host.key, name)
        self._say(name, "stopped")

    async def _table(self) -> list[Deployment]:
        return await asyncio.to_thread(deployments.every, self._database)

    async def _tell(self, name: str, message: str) -> None:
        self._say(name, message)
        await asyncio.to_thread(deployments.tell, self._database, name, message)


def derivatives(store: Store, name: str, kind: ArtefactKind) -> list[str]:
    """The version's artefacts that this kind of engine serves."""
    is_gguf = kind == "gguf"
    return [
        artefact for artefact in store.artefacts(name) if artefact.startswith("gguf-") == is_gguf
    ]


def derived(store: Store, name: str, kind: ArtefactKind) -> str | None:
    """The newest artefact that the engine can serve; None: it needs none.

    Raises AskdocsError: the version has no such artefact.
    """
    if kind == "adapter":
        return None
    names = derivatives(store, name, kind)
    if not names:
        option, engine = ("", "llama.cpp") if kind == "gguf" else (" --type merged", "vLLM")
        raise AskdocsError(
            f"{name}: has no artefact that {engine} can serve: create it with `askdocs models "
            f"export {name}{option}`"
        )
    return max(names, key=lambda artefact: store.artefact(name, artefact).created)


def check_memory(name: str, model: Path, available: int) -> None:
    """Raises AskdocsError: the free memory is too small for another process with that model."""
    files = [file for file in model.rglob("*") if file.is_file()] if model.is_dir() else [model]
    needed = sum(file.stat().st_size for file in files) + BESIDE
    if needed > available:
        raise AskdocsError(
            f"{name}: needs about {needed / 2**30:.1f} GiB beside what runs, and"
            f" {available / 2**30:.1f} GiB are free: close other programs, or lower [up] context"
        )


async def working(url: str) -> bool:
    """Does the engine have unfinished requests? An unavailable engine has none."""
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.get(f"{url.removesuffix('/v1')}/metrics", timeout=5)
    except httpx.HTTPError:
        return False
    return hanging.has_work(reply.text)
