"""Keeps a gateway's index up to date: the configured wiki, and the embeddings of all pages."""

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import database
from core.errors import AskdocsError
from core.tasks import Tasks, Traffic
from gateway.settings import GatewaySettings
from wiki.index.approved import Approved, approved, publish
from wiki.index.index import writing
from wiki.index.missing import embed_missing
from wiki.index.replica import open_writing
from wiki.sources import watch
from wiki.sources.source import Broken
from wiki.sources.spec import Spec
from wiki.sources.sync import Writing, look, sync
from wiki.sources.synced import Synced

if TYPE_CHECKING:
    import sqlalchemy as sa

    from wiki.search.search import Search

log = logging.getLogger("askdocs.gateway")
Say = Callable[[str], None]

# Seconds between progress messages of a long sync.
SAY = 5.0
# Seconds between checks for work.
LOOK = 2.0
# Seconds until a folder is retried that could not be read, or not be written to the index.
RETRY = 60.0
# Seconds for running work to finish when the gateway stops.
GRACE = 2.0
# The task that looks at the feed of the configured wiki.
FEED = "wiki feed"


def opening(
    settings: GatewaySettings,
    index: Path | None = None,
    waiting: Callable[[int], None] | None = None,
) -> Writing:
    """Returns a function that opens the index to write; `index` replaces the configured file."""
    file = index or settings.index
    if not is_shared(settings):
        return partial(writing, file, waiting=waiting)
    return partial(open_writing, file, database_url(settings), waiting=waiting)


def is_shared(settings: GatewaySettings) -> bool:
    """Does a database share the index between several gateways?"""
    return (database_url(settings) or "").startswith("postgres")


def database_url(settings: GatewaySettings) -> str | None:
    url = settings.database_url
    return url.get_secret_value() if url else None


def prepare(settings: GatewaySettings, say: Say) -> None:
    """Create the index, and read the configured folder into it.

    Does not wait for a site: `Keeper` reads it while the gateway runs.

    Raises:
        AskdocsError: the folder has no page, or the index cannot be written.
    """
    with opening(settings)():
        pass  # create it, so that every worker can open it
    spec = named(settings)
    if spec and spec.folder:
        _complain(sync_named(spec, opening(settings), say))


def named(settings: GatewaySettings) -> Spec | None:
    """The configured wiki. Raises AskdocsError as `Spec.named`."""
    if settings.docs is None:
        return None
    return Spec.named(settings.docs, settings.docs_kind, settings.site_url)


def sync_named(
    spec: Spec,
    opened: Writing,
    say: Say,
    stop: threading.Event | None = None,
    is_complete: bool = True,
) -> Synced:
    """Sync the configured wiki, replacing one that was configured before.

    Args:
        spec: the wiki.
        opened: opens the index to write to it.
        say: receives the progress, every `SAY` seconds.
        stop: once set, ends the sync with Stopped.
        is_complete: read the whole wiki, and not only the feed of its service.

    Raises:
        AskdocsError: as `sync` and `look`.
    """
    last_report = time.monotonic()

    def progress(step: str, done: int, total: int | None) -> None:
        nonlocal last_report
        if stop and stop.is_set():
            raise Stopped(f"{spec.place}: the sync was stopped; the index is unchanged")
        if time.monotonic() - last_report > SAY:
            last_report = time.monotonic()
            say(f"{spec.place}: {step} pages, {done:,}{f' of {total:,}' if total else ''}")

    if not is_complete:
        return look(spec.open(), opened, spec=spec.stored, progress=progress)
    return sync(spec.open(), opened, spec=spec.stored, configured=True, progress=progress)


def _complain(synced: Synced) -> None:
    for file in synced.broken:
        log.warning("%s: %s: not read: %s", synced.source, file.path, file.why)


class Stopped(AskdocsError):
    """Work was stopped before its end."""


@contextmanager
def alone(index: Path, stop: threading.Event | None = None) -> Iterator[bool]:
    """Yields whether this process holds an index's lock, for work that one process does at a time.

    With `stop`, it waits for the lock until `stop` is set. The lock ends with the process.
    """
    with index.with_suffix(".keeper").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if stop and not stop.wait(LOOK):
                    continue
                yield False
            else:
                yield True
            return


class Keeper:
    """Background work of one gateway: follows its wiki, and computes embeddings.

    Only one of several workers does it. Embedding gives way to answers.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        search: "Search",
        described: Mapping[str, Any],
        traffic: Traffic,
        say: Say,
        tasks: Tasks,
    ) -> None:
        self._tasks = tasks
        self._settings = settings
        self._spec = named(settings)
        self._writing = opening(settings)
        self._search = search
        self._described = described
        self._traffic = traffic
        self._say = say
        self._stop = threading.Event()
        self._broken: tuple[Broken, ...] = ()
        self._embedded: int | None = None
        self._published: tuple[int, list[Approved]] | None = None
        self._prepared = True  # `prepare` has just read the folder

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Work until the block exits."""
        # A daemon: neither an unresponsive site nor a large page may delay the shutdown.
        work = ("wiki index", self._run, self._stop)
        thread = threading.Thread(target=self._tasks.go_on, args=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(GRACE)

    def _run(self) -> None:
        with alone(self._settings.index, self._stop) as mine:
            if not mine:
                return
            work = ("wiki follower", self._follow, self._stop)
            follower = threading.Thread(target=self._tasks.go_on, args=work, daemon=True)
            follower.start()
            answers = ("approved answers", self._keep_published, self._stop)
            publisher = threading.Thread(target=self._tasks.go_on, args=answers, daemon=True)
            publisher.start()
            self._tasks.go_on("vectors", self._keep_embedded, self._stop)
            publisher.join()
            follower.join()

    def _keep_embedded(self) -> None:
        complained = ""
        while not self._stop.is_set():
            complained = self._attempt(self._embed, complained)
            self._stop.wait(LOOK)

    def _keep_published(self) -> None:
        if (url := database_url(self._settings)) is None:
            return
        engine = database.open(url, database.PATIENCE)
        try:
            complained = ""
            while not self._stop.is_set():
                complained = self._attempt(partial(self._publish, engine), complained)
                self._stop.wait(LOOK)
        finally:
            engine.dispose()

    def _publish(self, engine: "sa.Engine") -> None:
        index, answers = self._search.index, approved(engine)
        if self._published != (index.generation, answers):
            generation = index.generation
            publish(answers, index, self._writing)
            self._published = generation, answers

    def _follow(self) -> None:
        if self._spec is None:
            return
        complained = complained_of_feed = ""
        read, folder = partial(self._read, self._spec), self._spec.folder
        if self._spec.is_followed:
            self._tasks.started(FEED)
        for is_complete in watch.changes(folder, self._stop, self._spec.is_followed):
            if not is_complete:
                complained_of_feed = self._attempt(
                    partial(read, is_complete=False), complained_of_feed
                )
                if complained_of_feed and not self._stop.is_set():
                    self._tasks.count_failure(FEED)
                continue
            prepared, self._prepared = self._prepared, False
            if prepared and folder:
                continue
            while (complained := self._attempt(read, complained)) and folder:
                if self._stop.wait(RETRY):
                    break

    def _attempt(self, work: Callable[[], None], complained: str) -> str:
        """Run `work`. Returns the error, and logs it unless it equals `complained`."""
        try:
            work()
        except AskdocsError as error:
            if not self._stop.is_set() and str(error) != complained:
                log.warning("%s", error)
            return str(error)
        return ""

    def _read(self, spec: Spec, is_complete: bool = True) -> None:
        synced = sync_named(spec, self._writing, self._say, self._stop, is_complete)
        if synced.is_different:
            self._say(f"{spec.place}: {synced.pages:,} pages")
        if synced.broken != self._broken:
            _complain(synced)
        if is_complete:
            self._broken = synced.broken

    def _embed(self) -> None:
        generation = self._search.index.generation
        if generation != self._embedded:
            self._embed_missing()
            self._embedded = generation

    def _embed_missing(self) -> None:
        search, embedder = self._search, self._search.embedder
        if embedder is None:
            return
        before = search.index.embedders().serving
        if embed_missing(self._writing, embedder, self._stand_back, self._described):
            self._say("vectors are complete: pages are also found by meaning")
        if before not in (None, embedder.model):
            self._say(f"questions are now compared by {embedder.model}")

    def _stand_back(self, done: int, total: int) -> None:
        while self._traffic.is_busy and not self._stop.is_set():
            self._stop.wait(0.05)
        if self._stop.is_set():
            raise Stopped("computing the vectors was postponed")
