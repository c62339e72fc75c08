"""Mines questions from the headings of a wiki."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from wiki.pages.headings import ENOUGH_TO_ASK, LONGEST, answers, plain, question
from wiki.pages.page import Page

LOOKED_AT = 300  # maximum pages, those for beginners first
_BEGINNINGS = re.compile(
    r"(^|/)(readme|index|getting[-_ ]?started|quick[-_ ]?start|start|install\w*|intro\w*|overview"
    r"|faq|tutorial|usage|guide)[^/]*$",
    re.I,
)
# Pages that every site has and nobody asks about, and pages generated from others.
_ASIDE = re.compile(
    r"(^|/)(change[-_ ]?log|release[-_ ]?notes|licen[cs]e|contribut\w*|code[-_ ]of[-_ ]conduct"
    r"|genindex|search|tags?|toc|sitemap|404|summary)(?![a-z])",
    re.I,
)


def first_paths(paths: Iterable[str]) -> list[str]:
    """The paths of pages to mine: pages for beginners, then those at the top."""
    chosen = [path for path in paths if not _ASIDE.search(path)]
    chosen.sort(key=lambda path: (not _BEGINNINGS.search(path), path.count("/"), path))
    return chosen[:LOOKED_AT]


def mined(pages: Sequence[Page]) -> Iterator[tuple[str, Page]]:
    """Yields the questions that pages ask or answer, then their titles and headings: in any
    language.

    The first text of each page comes first. A heading that occurs twice is too unspecific.
    """
    yield from asked(pages)
    yield from named(pages)


def asked(pages: Sequence[Page]) -> Iterator[tuple[str, Page]]:
    """Yields the questions that the pages ask or answer."""
    yield from _in_turn([(page, _questions(page)) for page in pages])


def named(pages: Sequence[Page]) -> Iterator[tuple[str, Page]]:
    """Yields the titles and headings of pages; pages without questions first."""
    silent_first = sorted(pages, key=lambda page: bool(_questions(page)))
    yield from _in_turn([(page, _names(page)) for page in silent_first])


def _questions(page: Page) -> list[str]:
    return list(filter(None, map(question, page.sections)))


def _names(page: Page) -> list[str]:
    """The page's title, and its unchanged headings, except questions."""
    if not any(answers(section, ENOUGH_TO_ASK) for section in page.sections):
        return []
    sections = [part for part in page.sections if answers(part) and not question(part)]
    names = dict.fromkeys([page.title, *(plain(section.heading) for section in sections)])
    return [name for name in names if 0 < len(name) <= LONGEST]


def _in_turn(mined: Sequence[tuple[Page, list[str]]]) -> Iterator[tuple[str, Page]]:
    seen = Counter(text for _, texts in mined for text in texts)
    for number in range(max((len(texts) for _, texts in mined), default=0)):
        for page, texts in mined:
            if number < len(texts) and seen[texts[number]] == 1:
                yield texts[number], page
