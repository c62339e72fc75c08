"""Search results: pages with their best passages."""

from collections.abc import Iterable
from dataclasses import dataclass

from wiki.index.passages import Passage
from wiki.pages.page import Page


@dataclass(frozen=True)
class PassageHit:
    """A passage in a search result."""

    page: Page
    passage: Passage
    score: float
    """Comparable with the scores of all pages' passages."""
    words: float
    """The share of the question's words in the passage, 0 to 1."""
    meaning: float | None
    """Its cosine similarity to the question; None if it has no vector (yet)."""

    @property
    def url(self) -> str:
        anchor = self.passage.anchor
        return f"{self.page.url}#{anchor}" if anchor else self.page.url


@dataclass(frozen=True)
class Why:
    """The reasons why a page was found."""

    place: int
    """Its rank by text alone, from 1; the reader's page may change it."""
    words: float
    """The contribution of the question's words to the page's score."""
    meaning: float | None
    """The similarity of its nearest passages to the question; None without vectors."""
    headings: float
    """The gain from its headings."""


@dataclass(frozen=True)
class Hit:
    """A page in a search result."""

    page: Page
    score: float
    """Above 0, about 1 for a page that answers a short question in its own words. The lower another
    page's score, the less likely it is."""
    passages: tuple[PassageHit, ...] = ()
    """Its best passages, best first."""
    why: Why | None = None
    """None for a page that neither words nor vectors found."""


def best_passages(hits: Iterable[Hit]) -> list[PassageHit]:
    """The passages of all pages in the result, best first.

    Omits headings without text and tables of contents, which show the reader nothing: their words
    count for the text that follows.
    """
    return sorted(
        (match for hit in hits for match in hit.passages if match.passage.is_readable),
        key=lambda match: -match.score,
    )


def distinct(ranked: Iterable[PassageHit]) -> list[PassageHit]:
    """Removes passages whose text is a duplicate of an earlier one."""
    first: dict[str, PassageHit] = {}
    for match in ranked:
        first.setdefault(match.passage.likeness, match)
    return list(first.values())
