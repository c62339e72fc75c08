"""Builds the sync item of a service's page from its stamp and its text."""

import json
from collections.abc import Callable, Mapping

from wiki.pages.page import Page
from wiki.rights import Groups
from wiki.sources import bounded
from wiki.sources.documents.made import NoText
from wiki.sources.services.stamps import Stamp
from wiki.sources.source import (
    NO_TEXT,
    Broken,
    Changed,
    Item,
    LeftOut,
    Regrouped,
    State,
    Unchanged,
)

# Maximum pages and files without text to remember.
_MOST_EMPTY = 2_000


def unread(path: str, groups: Groups | None, stamp: str, known: Mapping[str, str]) -> Item | None:
    """The item, if it does not depend on the page's text; None: the page must be read."""
    now, before = Stamp.parse(stamp), Stamp.parse(known.get(path, ""))
    if now == before:
        return Unchanged(path)
    if now and before and (now.version, now.reader) == (before.version, before.reader):
        return Regrouped(path, groups, stamp)
    return None


def read(path: str, groups: Groups | None, stamp: str, page: Callable[[], Page]) -> Item:
    """The item of the page that `page` builds from the service's text, within one page's limits."""
    try:
        with bounded.page(path):
            made = page()
    except NoText as error:
        return LeftOut(path, str(error))
    except ValueError as error:
        return Broken(path, str(error), groups)
    except Exception as error:  # third-party parsers may fail on a page
        return Broken(path, f"{type(error).__name__}: {error}", groups)
    return Changed(made, stamp, groups) if made.has_text else LeftOut(path, NO_TEXT)


class SyncState:
    """State that one sync leaves for the next: the pages without text.

    A scanned file has no stamp in the index, so it would otherwise be downloaded at every sync.
    """

    def __init__(self, known: Mapping[str, str], state: str, is_look: bool = False) -> None:
        """See `wiki.sources.source.Source.read`, and `Followed.recent` for a look."""
        self.known = known
        self.is_look = is_look
        saved = json.loads(state) if state else {}
        self.empty: dict[str, tuple[str, str]] = saved.get("empty", {})
        """Version and reason of pages without text, by path."""
        self._empty: dict[str, tuple[str, str]] = {}

    def unread(self, path: str, groups: Groups | None, stamp: str) -> Item | None:
        """Like the function of this name."""
        if path in self.empty and self.empty[path][0] == _version(stamp):
            return self.left_out(path)
        return unread(path, groups, stamp, self.known)

    def has_read(self, path: str, stamp: str) -> bool:
        """Was this version read before, whoever may read it?"""
        empty = (of[path][0] for of in (self.empty, self._empty) if path in of)
        if _version(stamp) in empty:
            return True
        now = Stamp.parse(stamp)
        return now is not None and now.is_version(Stamp.parse(self.known.get(path, "")))

    def note(self, path: str, stamp: str, why: str) -> LeftOut:
        """Remember a version that is left out, so that looks at the feed do not read it again."""
        self._empty[path] = (_version(stamp), why)
        return LeftOut(path, why)

    def left_out(self, path: str) -> LeftOut:
        """An unchanged page of `empty`."""
        self._empty[path] = self.empty[path]
        return LeftOut(path, self.empty[path][1])

    def read(self, path: str, groups: Groups | None, stamp: str, page: Callable[[], Page]) -> Item:
        """Like the function of this name."""
        item = read(path, groups, stamp, page)
        return self.note(path, stamp, item.why) if isinstance(item, LeftOut) else item

    def state(self) -> State:
        """The state for the next sync; after a look, that of the last complete sync remains."""
        empty = {**self.empty, **self._empty} if self.is_look else self._empty
        return State(json.dumps({"empty": dict(list(empty.items())[:_MOST_EMPTY])}))


def _version(stamp: str) -> str:
    made = Stamp.parse(stamp)
    return f"{made.reader} {made.version}" if made else ""
