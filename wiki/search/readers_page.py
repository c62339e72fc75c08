"""Favours the page that the reader is on, and pages near it."""

import re
from collections.abc import Iterator
from urllib.parse import urldefrag, urljoin

from wiki.pages.page import Page
from wiki.pages.words import words
from wiki.search.hits import Hit

# The factor for the reader's page, and for pages that it links to or that are in the same folder. A
# larger one would displace better answers from the first place.
CURRENT_PAGE = 1.15
NEIGHBOUR = 1.05
# "How do I configure this?" refers to the current page, whatever else its few words match.
_POINTERS = frozenset(("this", "here", "these"))
_LINK = re.compile(r"\]\(\s*<?([^)>\s]+)")


def refers_to_it(question: str) -> bool:
    """Does a question point at the page, as in "How do I configure this?"?"""
    return not _POINTERS.isdisjoint(words(question))


def moved_up(hits: list[Hit], current: Page) -> list[Hit]:
    """The hits with the reader's page and its neighbours further up."""
    linked = set(_linked(current))
    folder = current.path.rpartition("/")[0]

    def moved(hit: Hit) -> Hit:
        if hit.page.path == current.path:
            return Hit(hit.page, hit.score * CURRENT_PAGE)
        beside = folder and hit.page.path.rpartition("/")[0] == folder
        near = beside or _bare(hit.page.url) in linked
        return Hit(hit.page, hit.score * NEIGHBOUR) if near else hit

    return sorted(map(moved, hits), key=lambda hit: -hit.score)


def _linked(page: Page) -> Iterator[str]:
    """The addresses that a page links to."""
    for target in _LINK.findall(page.text):
        try:
            url = urljoin(page.url, target)
        except ValueError:
            continue  # not an address, such as `http://[`
        yield _bare(url)


def _bare(url: str) -> str:
    return urldefrag(url).url.rstrip("/")
