"""Example questions for the empty box, taken from the wiki's headings.

A text is offered only if the search ranks its own page first, so that clicking it gives an answer.
English pages contribute only questions. In other languages, task headings cannot be recognised, so
titles and headings stand in for questions.
"""

import itertools
import logging
import threading
import time
from pathlib import Path

from core.errors import AskdocsError
from core.settings import load
from gateway.settings import GatewaySettings
from wiki.index.index import Index
from wiki.index.view import Rights, View
from wiki.pages.asking import asked_stems, is_english
from wiki.pages.page import Page
from wiki.pages.questions import asked, first_paths, named
from wiki.pages.words import words
from wiki.rights import PUBLIC

log = logging.getLogger(__name__)

RENEWED = 600.0  # seconds
SHORTEST = 12  # bytes: minimum length of a question; one ideograph has 3 bytes
MOST = 8
NEAR = 5  # pages nearest to a question
TRIED = 8  # candidate questions of these
LOOKUPS = 200  # maximum searches
READ = 4_000  # characters of a page used to detect its language
ASCII = 0.9  # minimum share of ASCII letters on an English page


class Examples:
    """Questions from the gateway's index, if it exists. Thread-safe."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._index: Index | None = None
        self._rights: Rights | None = None
        self._revision = ""
        self._examples: list[str] = []
        self._until = 0.0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            if self._index is not None:
                self._index.close()
                self._index = self._rights = None

    def get(self, count: int) -> list[str]:
        """At most `count` questions from different pages, by the current rights. Reads the index:
        call it in a thread."""
        with self._lock:
            now = time.monotonic()
            if self._file is not None and (self._rights or now >= self._until):
                try:
                    self._renew(self._file, now)
                except (AskdocsError, OSError) as error:  # it may still be created
                    log.info("cannot read example questions from the wiki: %s", error)
                    self._examples, self._until = [], now + RENEWED / 20
            return self._examples[:count]

    def near(self, question: str, count: int) -> list[str]:
        """Questions that share a word with a refused one, from the pages nearest to it.

        Reads the index: call it in a thread.
        """
        with self._lock:
            if self._file is None:
                return []
            try:
                return _near(self._open(self._file).seen_by(PUBLIC), question)[:count]
            except (AskdocsError, OSError) as error:
                log.info("cannot find similar questions: %s", error)
                return []

    def _open(self, file: Path) -> Rights:
        if self._rights is None:
            self._index = Index(file)
            self._rights = Rights(self._index, load(GatewaySettings).rules)
        return self._rights

    def _renew(self, file: Path, now: float) -> None:
        rights = self._open(file)
        revision = rights.revision()
        if revision != self._revision or now >= self._until:
            self._revision, self._until = revision, now + RENEWED
            self._examples = []
            # The box offers them to everybody.
            self._examples = _mined(rights.seen_by(PUBLIC))


def _mined(index: View) -> list[str]:
    with index.snapshot():
        numbers = index.paths()
        pages = [index.page(numbers[path]) for path in first_paths(numbers)]
        offered: dict[frozenset[str], str] = {}
        others = [page for page in pages if not is_english(_beginning(page), ASCII)]
        texts = itertools.chain(asked(pages), named(others))
        for text, page in itertools.islice(texts, LOOKUPS):
            if len(text.encode()) >= SHORTEST and meaning(text) not in offered:
                if _finds(index, text, page):
                    offered[meaning(text)] = text
                if len(offered) == MOST:
                    break
        return list(offered.values())


def _near(index: View, question: str) -> list[str]:
    stems = meaning(question)
    with index.snapshot():
        pages = [index.page(number) for number, _ in index.match(words(question), NEAR)]
        near = [(meaning(text), text, page) for text, page in asked(pages)]
        # The same question would be refused again.
        near = [row for row in near if stems & row[0] and row[0] != stems]
        near.sort(key=lambda row: len(stems & row[0]), reverse=True)
        return [text for _, text, page in near[:TRIED] if _finds(index, text, page)]


def meaning(text: str) -> frozenset[str]:
    """The question's words, independent of order and form."""
    return frozenset(asked_stems(text))


def _beginning(page: Page) -> str:
    return " ".join(section.body for section in page.sections)[:READ]


def _finds(index: Index, text: str, page: Page) -> bool:
    hits = index.match(words(text), 1)
    return bool(hits) and index.page(hits[0][0]).path == page.path
