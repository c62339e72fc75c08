"""The interface of a wiki source: a folder of Markdown or HTML, or a site."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from wiki.pages.page import Page
from wiki.rights import Groups


@dataclass(frozen=True)
class Unchanged:
    """A page that has not changed: its stamp is valid, and it was not read again. Its groups are
    unchanged, too."""

    path: str


@dataclass(frozen=True)
class Regrouped:
    """A page with unchanged text and changed readers."""

    path: str
    groups: Groups | None
    """See `Changed`."""
    stamp: str


@dataclass(frozen=True)
class Changed:
    """A new or changed page."""

    page: Page
    stamp: str
    """Used by the next sync to detect changes: a hash of its files, or an ETag."""
    groups: Groups | None = None
    """The permissions, see `wiki.rights`; None if the source has none. If a source has
    permissions but could not read a page's, it returns `NOBODY`, or the page as broken."""


@dataclass(frozen=True)
class Broken:
    """An existing page that cannot be read. The index keeps its earlier text."""

    path: str
    why: str
    groups: Groups | None = None
    """The readers of the earlier text; None: the previous groups."""


@dataclass(frozen=True)
class LeftOut:
    """A file that is not a page of the wiki, and not in the index."""

    path: str
    why: str


@dataclass(frozen=True)
class Expected:
    """The expected number of pages, once it is known."""

    pages: int


@dataclass(frozen=True)
class State:
    """State that the source needs at the next sync: its position in a feed of changes. It is the
    last item, and is stored once everything before it is in the index."""

    text: str


Item = Unchanged | Regrouped | Changed | Broken | LeftOut | Expected | State

COPY = "copy of another page"
NO_TEXT = "no text"


class Source(Protocol):
    """The current state of a wiki."""

    name: str
    """A stable name of the wiki: an absolute folder, or the address of a site."""

    def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
        """Yields every page of the wiki once. Pages that are missing or left out are deleted.

        Args:
            known: the stamp of each page in the index, by path; empty if the page must be read
                again, even if unchanged.
            state: the text of the last sync's `State`; empty if the index's pages have changed
                since that sync.

        Raises:
            AskdocsError: the source does not exist, or has no page; then nothing is deleted.
        """
        ...


@runtime_checkable
class Followed(Source, Protocol):
    """A wiki whose service has a feed of edited pages, which costs less than a complete read."""

    def recent(
        self, known: Mapping[str, str], state: str = "", ignored: Collection[str] = ()
    ) -> Iterator[Item]:
        """Yields the pages that the feed shows as new or edited, with their current readers.

        All other pages count as unchanged: the feed shows neither deleted pages nor changed
        permissions. A known page that is left out is removed. A `State` keeps the position of the
        last `read`, which must still find everything.

        Args:
            known: the stamp of each page in the index, by path.
            state: the text of the last `State`; empty as for `read`.
            ignored: paths of pages that are not read: they were excluded, or could not be read.

        Raises:
            AskdocsError: the feed cannot be read, or the service rejects the token.
        """
        ...
