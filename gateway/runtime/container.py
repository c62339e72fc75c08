"""The components of a gateway, built once per worker from the settings."""

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from core import database, process, threads
from core.errors import AskdocsError
from core.settings import home, load, place, settings_file
from core.tasks import Tasks, Traffic, failures_in
from gateway.access.auth import Keyring
from gateway.access.keys import Keys
from gateway.access.limits import limiter as limits
from gateway.access.limits.limiter import Limiter
from gateway.access.past_readers import PastReaders
from gateway.answering import scorers
from gateway.answering.chat import Chat, say
from gateway.answering.grounding.ground import Grounding, Library
from gateway.routing import deployments
from gateway.routing.aliases import DEFAULT, DOCS, INTERVAL, Aliases, Problem, Table
from gateway.routing.dispatch import Dispatch
from gateway.routing.registry import Fleet
from gateway.runtime import index_keeper
from gateway.runtime.index_keeper import Keeper
from gateway.settings import GatewaySettings
from gateway.telemetry import tracing
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.answer_statistics import AnswerStatistics
from gateway.telemetry.health import HealthCollector
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recorder import Recorder
from gateway.telemetry.shown_pages import Shown
from gateway.telemetry.tracing import Tracer
from gateway.telemetry.usage import Usage
from gateway.upstream import litellm
from gateway.upstream.engine import Engine
from gateway.upstream.litellm import LiteLLM
from gateway.upstream.local.models import EmbeddingThread
from gateway.upstream.prefill.popularity import PagePopularity
from gateway.upstream.prefill.snapshots import Snapshots
from gateway.upstream.prefill.warmer import Warmer
from wiki.index import embed
from wiki.index.index import Index
from wiki.index.replica import following
from wiki.rights import PUBLIC
from wiki.search import glossary_table, models
from wiki.search.config import SearchSettings
from wiki.search.glossary import Glossary

log = logging.getLogger("askdocs.gateway")

PATIENCE = 5.0  # seconds that the database has to answer


@dataclass(frozen=True)
class Container:
    """The components of one worker."""

    settings: GatewaySettings
    database: sa.Engine
    keyring: Keyring
    recorder: Recorder
    fleet: Fleet
    aliases: Aliases
    dispatch: Dispatch
    traffic: Traffic
    library: Library
    chat: Chat
    health: HealthCollector
    tasks: Tasks
    tracer: Tracer | None
    """None if tracing is off."""

    @property
    def secret(self) -> str:
        """The installation's key, which all its workers share."""
        assert self.settings.key is not None
        return self.settings.key.get_secret_value()

    @property
    def has_wiki(self) -> bool:
        """Is there a wiki for answers? A first sync may add one while the gateway runs."""
        return self.settings.docs is not None or not self.library.is_empty

    def failing(self) -> list[str]:
        """Recently failed background tasks of this worker, and other processes with such tasks that
        share its state folder, without their tasks' names, which contain wiki names."""
        elsewhere = failures_in(home())
        return [*self.tasks.failing, *sorted({one.process for one in elsewhere if one.is_recent})]

    async def waits_for(self) -> str | None:
        """The missing requirement: an engine for `docs`, or the database; None if everything is
        available."""
        try:
            async with asyncio.timeout(PATIENCE):
                await threads.database(database.ping, self.database)
        except (AskdocsError, TimeoutError):
            return "database"
        for alias in DEFAULT:
            route = self.aliases.table.route(alias)
            for name in route.candidates:
                served = await self.fleet.find(name)
                if served and (served.engine is None or await served.engine.is_ready()):
                    return None
        return "engine"


async def prepare(settings: GatewaySettings) -> None:
    """Run once before any worker starts: prepare the database and the index, and check all names.

    Raises:
        AskdocsError: the database is unavailable, the wiki has no page, an alias has no target,
            LiteLLM is needed and not installed.
    """
    if litellm.config(settings.models):
        litellm.interpreter()
    engine = database.open(database_url(settings))
    try:
        await asyncio.to_thread(database.migrate, engine)
        await asyncio.to_thread(database.look_for_damage, engine)
        await asyncio.to_thread(index_keeper.prepare, settings, say)
        fleet = Fleet(settings)
        try:
            table = await asyncio.to_thread(Aliases(settings.aliases, engine).load)
            fleet.follow(await threads.database(deployments.every, engine))
            if problems := await fleet.problems(table):
                raise AskdocsError("\n".join(_placed(problem, settings) for problem in problems))
        finally:
            await fleet.close()
    finally:
        engine.dispose()


@asynccontextmanager
async def running(settings: GatewaySettings) -> AsyncIterator[Container]:
    """The components of a worker, which run until the block exits. Call `prepare` first."""
    assert settings.key is not None
    async with AsyncExitStack() as stack:
        engine = database.open(database_url(settings), database.PATIENCE)
        stack.callback(engine.dispose)
        bundled = await threads.search(embed.load)
        reader = EmbeddingThread(bundled)
        stack.callback(reader.close)
        providers = LiteLLM(os.environ)
        stack.push_async_callback(providers.close)
        fleet = Fleet(settings, reader=reader, litellm=providers)
        stack.push_async_callback(fleet.close)
        metrics = Metrics()
        tasks = Tasks(metrics.task_failed, metrics.task_started)
        tracer = tracing.load("askdocs-gateway", os.environ)
        if tracer:
            stack.push_async_callback(threads.files, tracer.close)
        usage = Usage(engine)
        redis = settings.redis_url.get_secret_value() if settings.redis_url else None
        limiter = await limits.connect(redis, usage.month, workers=settings.workers, tasks=tasks)
        stack.push_async_callback(limiter.close)
        access = AccessLog(
            settings.access_log, settings.log_prompts, metrics.log_lines_dropped, tasks
        )
        stack.callback(access.close)
        keyring = Keyring(Keys(engine), settings.key, settings.previous_key)
        stack.push_async_callback(keyring.close)
        aliases = Aliases(settings.aliases, engine)
        aliases.table = await threads.database(aliases.load)
        fleet.follow(await threads.database(deployments.every, engine))
        dispatch = Dispatch(fleet, metrics)
        traffic = Traffic()
        base = fleet.base.engine
        assert base is not None
        stack.enter_context(following(settings.index, index_keeper.database_url(settings), tasks))
        index = await threads.search(Index, settings.index)
        stack.callback(index.close)
        searching = load(SearchSettings)
        search = await threads.search(models.open_search, index, settings, searching, bundled)
        await threads.database(glossary_table.follow, search.glossary, engine)
        keeper = Keeper(settings, search, models.describe(searching), traffic, say, tasks)
        stack.enter_context(keeper.at_work())
        health = HealthCollector(fleet, index, settings.index.parent, home())
        metrics.add(health)
        grounding = Grounding(index, base.counts, search=search)
        library = Library(grounding, settings.rules)
        popularity = PagePopularity(engine)
        statistics = AnswerStatistics(engine)
        seen = Shown(engine)
        scorer = scorers.load(settings, os.environ)
        if scorer:
            stack.push_async_callback(scorer.close)
        answering = partial(_answering, fleet, aliases)
        budget, snapshots = max(settings.page_budget, settings.prefill_page), _snapshots(settings)

        def kept_by(engine: Engine) -> Snapshots | None:
            return snapshots if engine.url == base.url else None

        def instructions() -> str:
            return aliases.table.aliases[DOCS].instructions or ""

        # Everybody finds prefilled pages in the engine's cache.
        public = await library.open_to(PUBLIC)
        warmer = Warmer(public, traffic, popularity, answering, budget, kept_by, instructions)
        stack.push_async_callback(tasks.close)
        tasks.start("usage", usage.run)
        tasks.start("page popularity", popularity.run)
        tasks.start("answer statistics", statistics.run)
        tasks.start("pages shown", seen.run)
        past = PastReaders(engine, library.rights.revision, library.rights.every)
        tasks.start("page readers", past.run)
        tasks.start("aliases", partial(aliases.watch, partial(_problems, fleet, engine)))
        tasks.start("versions", partial(_follow, fleet, search.glossary, engine))
        tasks.start("counters", partial(_watch, limiter, usage, metrics))
        if settings.prefill and settings.answers == "write":  # extractive answers need no model
            tasks.start("warmer", partial(_warm, settings, warmer))
        if litellm.URL in os.environ:
            tasks.start("litellm", providers.watch)
        process.trim()
        yield Container(
            settings=settings,
            database=engine,
            keyring=keyring,
            recorder=Recorder(limiter, usage, metrics, access, popularity, statistics, seen),
            fleet=fleet,
            aliases=aliases,
            dispatch=dispatch,
            traffic=traffic,
            library=library,
            chat=Chat(settings, library, base.counts, scorer),
            health=health,
            tasks=tasks,
            tracer=tracer,
        )


async def _watch(limiter: Limiter, usage: Usage, metrics: Metrics) -> None:
    """Report in the metrics whether Redis and the database are unavailable."""
    decided = failed = 0
    while True:
        metrics.limiter_local(limiter.is_local)
        for _ in range(limiter.local_decisions - decided):
            metrics.decided_locally()
        for _ in range(usage.failures - failed):
            metrics.usage_flush_failed()
        decided, failed = limiter.local_decisions, usage.failures
        await asyncio.sleep(1)


async def _problems(fleet: Fleet, engine: sa.Engine, table: Table) -> list[Problem]:
    """Errors that make `table` unusable; follows new versions first, which it may name."""
    fleet.follow(await threads.database(deployments.every, engine))
    return await fleet.problems(table)


async def _follow(fleet: Fleet, glossary: Glossary, engine: sa.Engine) -> None:
    """Serve the versions that `askdocs up` has started, and search with the words that writers have
    added; without the database, keep the current ones."""
    while True:
        await asyncio.sleep(INTERVAL)
        with suppress(AskdocsError):
            fleet.follow(await threads.database(deployments.every, engine))
            await threads.database(glossary_table.follow, glossary, engine)


async def _answering(fleet: Fleet, aliases: Aliases) -> Engine | None:
    """The engine that answers most questions about the wiki; None: a provider does."""
    targets = aliases.table.aliases[DOCS].targets
    served = await fleet.find(max(targets, key=lambda name: targets[name]))
    return served.engine if served else None


def _snapshots(settings: GatewaySettings) -> Snapshots | None:
    if settings.states is None:
        return None
    try:
        return Snapshots(settings.states)
    except OSError as error:
        log.warning("%s: KV cache snapshots are off (%s)", settings.states, error)
        return None


async def _warm(settings: GatewaySettings, warmer: Warmer) -> None:
    """Prefill the pages in one of the workers; the lock ends with the process."""
    with settings.index.with_suffix(".warm").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        await warmer.run()


def database_url(settings: GatewaySettings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


def _placed(problem: Problem, settings: GatewaySettings) -> str:
    """Describes a problem, and where to correct it."""
    if problem.alias in settings.aliases:
        keys = ("gateway", "aliases", problem.alias, problem.key)
        return f"{place(settings_file(), *keys)}: {problem.message}"
    return (
        f"the alias {problem.alias!r} in the database, {problem.key}: {problem.message};"
        f" correct it with `askdocs aliases set {problem.alias} ...`"
    )
