"""Keeps the index of a gateway: the wiki that the settings name, and the vectors of all pages."""

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gateway.config import GatewaySettings
from gateway.errors import AskdocsError
from gateway.search.embed import Embedder
from gateway.search.index import Index, writing
from gateway.sources.spec import Spec
from gateway.sources.sync import Synced, sync
from gateway.traffic import Traffic

log = logging.getLogger("askdocs.gateway")
Say = Callable[[str], None]

# Seconds between two lines about a sync that takes long.
SAY = 5.0
# Seconds until a site is read again. What has not changed is not sent again by sites with ETags.
INTERVAL = 900.0
# Seconds between two looks whether pages without vectors have come in.
LOOK = 2.0
# Seconds that work under way may take to end with the gateway.
GRACE = 2.0


def prepare(settings: GatewaySettings, say: Say) -> None:
    """Make the index, and read the folder that the settings name into it.

    A site is not waited for: `Keeper` reads it while the gateway runs.

    Raises:
        AskdocsError: the folder has no page, or the index cannot be written.
    """
    with writing(settings.index):
        pass  # so that every worker can open it
    spec = named(settings)
    if spec and spec.folder:
        _complain(sync_named(spec, settings.index, say))


def named(settings: GatewaySettings) -> Spec | None:
    """The wiki of the settings. Raises AskdocsError as `Spec.named`."""
    if settings.docs is None:
        return None
    return Spec.named(settings.docs, settings.docs_kind, settings.site_url)


def sync_named(spec: Spec, index: Path, say: Say, stop: threading.Event | None = None) -> Synced:
    """Sync the wiki that settings name, in place of one that they named before.

    Args:
        spec: the wiki.
        index: the file of the index.
        say: is told how far it is, every `SAY` seconds.
        stop: ends the sync, once it is set, with Stopped.

    Raises:
        AskdocsError: as `sync`.
    """
    said = time.monotonic()

    def progress(step: str, done: int, total: int | None) -> None:
        nonlocal said
        if stop and stop.is_set():
            raise Stopped(f"{spec.place}: the sync was stopped; the index is as it was")
        if time.monotonic() - said > SAY:
            said = time.monotonic()
            say(f"{spec.place}: {step} pages, {done:,}{f' of {total:,}' if total else ''}")

    return sync(
        spec.open(),
        partial(writing, index),
        spec=spec.stored,
        configured=True,
        progress=progress,
    )


def _complain(synced: Synced) -> None:
    for one in synced.broken:
        log.warning("%s: %s: not read: %s", synced.source, one.path, one.why)


class Stopped(AskdocsError):
    """A sync that was ended before its end."""


class Keeper:
    """Work in the background of one gateway: a site is read, vectors are worked out.

    Only one of several workers does it, and stands back while it answers.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        index: Index,
        embedder: Embedder | None,
        traffic: Traffic,
        say: Say,
    ) -> None:
        self._settings = settings
        self._index = index
        self._embedder = embedder
        self._traffic = traffic
        self._say = say
        self._stop = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Works until the block is left."""
        with self._settings.index.with_suffix(".keeper").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield  # another worker does it; the lock goes with its process
                return
            work = [target for target in (self._site(), self._vectors()) if target]
            threads = [threading.Thread(target=each, daemon=True) for each in work]
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self._stop.set()
                for thread in threads:
                    thread.join(GRACE)

    def _site(self) -> Callable[[], None] | None:
        spec = named(self._settings)
        return None if spec is None or spec.folder else partial(self._keep_site, spec)

    def _keep_site(self, spec: Spec) -> None:
        while True:
            try:
                synced = sync_named(spec, self._settings.index, self._say, self._stop)
                if synced.is_different:
                    self._say(f"{spec.place}: {synced.pages:,} pages")
                    _complain(synced)
            except AskdocsError as error:
                if not self._stop.is_set():
                    log.warning("%s", error)
            if self._stop.wait(INTERVAL):
                return

    def _vectors(self) -> Callable[[], None] | None:
        return None
