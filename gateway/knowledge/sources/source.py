"""The interface of a wiki source: a folder of Markdown or HTML, or a site."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.access.rights import Groups
from gateway.knowledge.wiki.page import Page


@dataclass(frozen=True)
class Unchanged:
    """A page that is as it was: its stamp still holds, and it was not read again. Its groups are as
    they were, too."""

    path: str


@dataclass(frozen=True)
class Regrouped:
    """A page whose text is as it was, and that may be read by others now."""

    path: str
    groups: Groups | None
    """As of `Changed`."""
    stamp: str


@dataclass(frozen=True)
class Changed:
    """A page that is new or different."""

    page: Page
    stamp: str
    """What tells, next time, whether the page is as it was: a hash of its files, or an ETag."""
    groups: Groups | None = None
    """Who may read it, see `gateway.access.rights`; None where the source says nothing about it. A
    source that has rights and could not read those of a page says `NOBODY`, or that the page is
    broken."""


@dataclass(frozen=True)
class Broken:
    """A page that is there and cannot be read. The index keeps its earlier text."""

    path: str
    why: str
    groups: Groups | None = None
    """Who may read the earlier text now; None: the groups of before."""


@dataclass(frozen=True)
class LeftOut:
    """What is there and is no page of the wiki. Nothing of it is in the index."""

    path: str
    why: str


@dataclass(frozen=True)
class Expected:
    """How many pages there will be, as soon as it is known."""

    pages: int


@dataclass(frozen=True)
class State:
    """What the source wants to be given at the next sync: how far it has read a feed of changes. It
    is the last item, and is kept when everything before it is in the index."""

    text: str


Item = Unchanged | Regrouped | Changed | Broken | LeftOut | Expected | State

COPY = "copy of another page"
NO_TEXT = "no text"


class Source(Protocol):
    """A wiki, as it is now."""

    name: str
    """The same for the same wiki: an absolute folder, or the address of a site."""

    def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
        """Every page of the wiki, once. What is not among them, or is left out, is gone.

        Args:
            known: the stamp of each page that the index has, by path; empty where the page is to
                be read again, whether or not it changed.
            state: the text of the `State` of the last sync; empty where the index has other pages
                than that sync left there.

        Raises:
            AskdocsError: the source is not there, or has no page at all; nothing is gone then.
        """
        ...
