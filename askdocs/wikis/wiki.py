"""The wiki of `askdocs up`: read at the start and on every change."""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import AskdocsError
from core.settings import load
from gateway.api.agents import llms
from gateway.runtime.index_keeper import sync_named
from gateway.settings import GatewaySettings
from wiki.index.index import Index
from wiki.index.store import NoIndex
from wiki.index.view import Rights
from wiki.pages.questions import first_paths, mined
from wiki.rights import PUBLIC
from wiki.sources import watch
from wiki.sources.detect import detect
from wiki.sources.source import Broken
from wiki.sources.spec import Spec, is_address
from wiki.sources.suffixes import is_html
from wiki.sources.sync import Writing
from wiki.sources.tree import Tree
from wiki.sources.within import Bounds

# Questions to try as a test at the start.
TRIED = 4


class Wiki:
    """A wiki in the index. Its methods block; call them in a thread."""

    def __init__(
        self,
        docs: str,
        site_url: str,
        index: Path,
        writing: Writing,
        say: Callable[[str], None],
    ) -> None:
        """
        Args:
            docs: a folder of Markdown or HTML, or the URL of a site.
            site_url: where a folder's site is served.
            index: the index file.
            writing: opens the index for writing.
            say: receives progress messages.

        Raises:
            AskdocsError: the folder has neither Markdown nor HTML.
        """
        kind = None if is_address(docs) else "html" if is_html(Path(docs)) else "preview"
        if kind == "preview" and (pages := _pages(Path(docs))) != Path(docs):
            say(f"the pages of {docs} are in {pages}")
            docs = str(pages)
        self.spec = _as_before(Spec.named(docs, kind, "" if is_address(docs) else site_url), index)
        self._index = index
        self._writing = writing
        self._say = say
        self._broken: tuple[Broken, ...] = ()
        self._omission = ""
        self.stop = threading.Event()
        """Set it to abort any running operation."""

    def first(self) -> None:
        """Read the wiki; a site that is already indexed is left to `keep`.

        Raises:
            AskdocsError: it does not exist, or has no page.
        """
        if self.spec.folder is None and self._has_pages():
            return
        self._sync()
        if not self._has_pages():
            why = f"{self._broken[0].path}: {self._broken[0].why}" if self._broken else ""
            raise AskdocsError(
                f"{self.spec.place} has no page that could be read: {why or self._omission}:"
                " name another --docs"
            )

    def keep(self, changed: Callable[[], None], feed_failed: Callable[[], None]) -> None:
        """Read it again whenever it may have changed, and call `changed` if it had, or
        `feed_failed` if the feed of its service could not be read; never returns."""
        reported = ""
        looks = watch.changes(self.spec.folder, self.stop, self.spec.is_followed)
        for number, is_complete in enumerate(looks):
            if number == 0 and self.spec.folder:
                continue  # `first` just read it
            try:
                if self._sync(is_complete):
                    changed()
                reported = ""
            except AskdocsError as error:
                if not is_complete and not self.stop.is_set():
                    feed_failed()
                # While it is unavailable, its pages are kept; report this once.
                if str(error) != reported and not self.stop.is_set():
                    self._say(str(error))
                reported = str(error)

    def questions(self) -> list[str]:
        """Questions that this wiki should answer, the most likely first."""
        index = Index(self._index)
        try:
            seen = public(index)
            numbers = seen.paths()
            pages = [seen.page(numbers[path]) for path in first_paths(numbers)]
        finally:
            index.close()
        return [text for text, _ in itertools.islice(mined(pages), TRIED)]

    def write_texts(self, site: Path) -> None:
        """Write llms.txt and llms-full.txt of this wiki into its site's folder.

        Raises AskdocsError: they cannot be written.
        """
        index = Index(self._index)
        try:
            llms.write(site, public(index), [self.spec.place])
        except OSError as error:
            raise AskdocsError(
                f"{site}: llms.txt cannot be written ({error.strerror}): free the disk, or choose"
                " another --home DIR"
            ) from None
        finally:
            index.close()

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins whose pages may show the box, if the wiki is a site on the web."""
        place = urlsplit(self.spec.place)
        return () if self.spec.folder else (f"{place.scheme}://{place.netloc}",)

    def _sync(self, is_complete: bool = True) -> bool:
        synced = sync_named(self.spec, self._writing, self._say, self.stop, is_complete)
        if synced.is_different:
            counts = {
                "added": len(synced.added),
                "changed": len(synced.changed),
                "removed": len(synced.removed),
            }
            did = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
            self._say(f"{synced.pages:,} pages, {did}")
        for page in synced.broken:
            if page not in self._broken:
                self._say(f"{page.path}: {page.why}")
        if not is_complete:
            return synced.is_different
        self._broken = synced.broken
        if synced.omission not in ("", self._omission):
            self._say(f"{synced.omission}; `askdocs docs sync --dry-run` lists them")
        self._omission = synced.omission
        if synced.repetition:
            self._say(synced.repetition)
        return synced.is_different

    def _has_pages(self) -> bool:
        try:
            index = Index(self._index)
        except NoIndex:
            return False
        try:
            return index.count(self.spec.place) > 0
        finally:
            index.close()


def _pages(docs: Path) -> Path:
    """The folder with the pages, if `docs` is a project with a separate content folder."""
    root = docs.absolute()
    content = detect(root).content
    is_inside = root in content.parents and Bounds(root).holds(content)
    return content if is_inside and Tree(content).markdown else docs


def public(index: Index) -> Index:
    """The public pages of an index."""
    return Rights(index, load(GatewaySettings).rules).seen_by(PUBLIC)


def _as_before(spec: Spec, index: Path) -> Spec:
    """Use the kind of an earlier sync: a URL alone may not identify it."""
    if spec.folder is not None:
        return spec
    try:
        opened = Index(index)
    except NoIndex:
        return spec
    try:
        sources = (stored for stored in opened.sources() if stored.name == spec.place)
        return next((Spec.remembered(stored.name, stored.spec) for stored in sources), spec)
    finally:
        opened.close()
