"""Mines questions from the headings of a wiki."""

import re
from collections.abc import Sequence

from gateway.knowledge.wiki.headings import answers, question
from gateway.knowledge.wiki.page import Page

_BEGINNING = re.compile("start|install|quick|intro|overview|index|readme|faq", re.IGNORECASE)


def mined(pages: Sequence[Page]) -> list[str]:
    """What headings ask or answer, one of each page first; else what pages are of.

    Pages for beginners come first. A heading that occurs twice asks for nothing in particular.
    """
    pages = sorted(pages, key=lambda page: _BEGINNING.search(page.path) is None)
    asked = [list(filter(None, map(question, page.sections))) for page in pages]
    seen = [heading for headings in asked for heading in headings]
    rounds = max(map(len, asked), default=0)
    found = [h[n] for n in range(rounds) for h in asked if n < len(h) and seen.count(h[n]) == 1]
    # As people type into a field that searches, where a title does not name a thing.
    return found or [text for title in _titles(pages) for text in (f"What is {title}?", title)]


def _titles(pages: Sequence[Page]) -> list[str]:
    """Of pages that begin with a text about themselves; the others behind them."""
    lasting = sorted(pages, key=lambda page: not (page.sections and answers(page.sections[0])))
    return [page.title for page in lasting]
