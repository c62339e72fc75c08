"""Example questions for the empty box, from the wiki's headings or page titles.

A question is offered where the search finds its own page first, so that a click on it is answered.
"""

import itertools
import logging
import re
import threading
import time
from pathlib import Path

from gateway.access.rights import PUBLIC
from gateway.core.errors import AskdocsError
from gateway.core.gateway_settings import GatewaySettings
from gateway.core.settings import load
from gateway.knowledge.search.index import Index
from gateway.knowledge.search.view import Rights
from gateway.knowledge.wiki.asking import asked_stems
from gateway.knowledge.wiki.headings import LONGEST, question
from gateway.knowledge.wiki.page import Page
from gateway.knowledge.wiki.words import words

log = logging.getLogger(__name__)

LOOKED_AT = 300  # pages, those first with which people begin
RENEWED = 600.0  # seconds
SHORTEST = 12  # characters: below that a question says nothing by itself
_BEGINNINGS = re.compile(
    r"(^|/)(readme|index|getting[-_ ]?started|quick[-_ ]?start|start|install\w*|intro\w*|faq"
    r"|tutorial|usage|guide)[^/]*$",
    re.I,
)
# Pages that everybody has, and nobody asks about; and those that a generator makes of the others.
_ASIDE = re.compile(
    r"(^|/)(change[-_ ]?log|release[-_ ]?notes|licen[cs]e|contribut\w*|code[-_ ]of[-_ ]conduct"
    r"|genindex|search|tags?|toc|sitemap|404|summary)(?![a-z])",
    re.I,
)


class Examples:
    """Questions from the index of the gateway, where there is one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._found: list[str] = []
        self._until = 0.0
        self._lock = threading.Lock()

    def get(self, count: int) -> list[str]:
        """At most so many, of as many pages. Reads the index: call it in a thread."""
        if self._file is None:
            return []
        with self._lock:
            if time.monotonic() >= self._until:
                self._until = time.monotonic() + RENEWED
                try:
                    self._found = _mined(self._file)
                except (AskdocsError, OSError) as error:  # it may come yet
                    log.info("no examples from the wiki: %s", error)
                    self._until = time.monotonic() + RENEWED / 20
        return self._found[:count]


def _mined(file: Path) -> list[str]:
    whole = Index(file)
    try:
        # The box offers them to everybody.
        index = Rights(whole, load(GatewaySettings).rules).seen_by(PUBLIC)
        with index.snapshot():
            paths = [path for path in index.paths() if not _ASIDE.search(path)]
            paths.sort(key=lambda path: (not _BEGINNINGS.search(path), path.count("/"), path))
            numbers = index.paths()
            asked: list[str] = []
            named: list[str] = []
            seen: set[frozenset[str]] = set()
            for path in paths[:LOOKED_AT]:
                page = index.page(numbers[path])
                asked_here = filter(None, map(question, page.sections))
                long = (q for q in asked_here if len(q) >= SHORTEST)
                fresh = (q for q in itertools.islice(long, 3) if meaning(q) not in seen)
                found = next((q for q in fresh if _finds(index, q, page)), "")
                if found:
                    asked.append(found)
                    seen.add(meaning(found))
                elif SHORTEST <= len(page.title) <= LONGEST and _finds(index, page.title, page):
                    named.append(page.title)
                if len(asked) >= 8:
                    break
            return [*asked, *named][:8]
    finally:
        whole.close()


def meaning(text: str) -> frozenset[str]:
    """The question's words, independent of their order and form."""
    return frozenset(asked_stems(text))


def _finds(index: Index, text: str, page: Page) -> bool:
    hits = index.match(words(text), 1)
    return bool(hits) and index.page(hits[0][0]).path == page.path
