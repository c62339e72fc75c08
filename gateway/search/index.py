"""The search index: pages and their sections in one SQLite file with FTS5.

Built beside the old file and moved over it, so that a kill at any moment leaves the old index or
the new one.
"""

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urldefrag

from gateway.wiki.page import Page, Section
from gateway.wiki.words import content_words, stem, words

# Raised when what is stored changes; an index of another version is built again.
VERSION = 1
# Column weights of bm25(): a word in the title says more than one in the text. Measured on
# questions of a support wiki, see docs/results.md, "Finding the page".
WEIGHTS = (6.0, 2.0, 1.0)
# The page that the reader is on wins over others that match about as well.
CURRENT_PAGE = 1.5
# "How do I configure this?" points at that page, whatever else the few words of it match.
_POINTERS = frozenset(("this", "here", "these"))

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE page (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, title TEXT NOT NULL, url TEXT NOT NULL
);
CREATE INDEX page_url ON page (url);
CREATE TABLE section (
    page INTEGER NOT NULL REFERENCES page, ordinal INTEGER NOT NULL, heading TEXT NOT NULL,
    anchor TEXT NOT NULL, path TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (page, ordinal)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE page_words USING fts5 (
    title, headings, body, content='', tokenize='porter unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (page_words, 'row');
"""


@dataclass(frozen=True)
class Hit:
    """A page that was found, best first. `score` is a positive BM25 value."""

    page: Page
    score: float


class Index:
    """A read-only view of an index file. Safe to use from one thread."""

    def __init__(self, file: Path) -> None:
        """Raises sqlite3.Error when `file` is not an index."""
        self._db = _open(file)
        self._pages: dict[int, Page] = {}
        (self.size,) = self._db.execute("SELECT count(*) FROM page").fetchone()

    def close(self) -> None:
        self._db.close()

    def pages(self) -> list[Page]:
        """All pages in the order of their paths."""
        rows = self._db.execute("SELECT id FROM page ORDER BY path").fetchall()
        return [self._page(row[0]) for row in rows]

    def search(self, question: str, page_url: str | None = None, limit: int = 5) -> list[Hit]:
        """The pages for a question, best first.

        Args:
            question: as a person wrote it.
            page_url: address of the page that the reader is on, if it is one of the wiki's. It is
                moved up where it matches, and is the answer where nothing else matches.
            limit: the most hits returned.
        """
        terms = sorted(set(content_words(question)))
        current = self.by_url(page_url) if page_url else None
        found: list[tuple[float, int]] = []
        if terms:
            match = " OR ".join(f'"{term}"' for term in terms)
            found = self._db.execute(
                "SELECT -bm25(page_words, ?, ?, ?) AS score, rowid FROM page_words"
                " WHERE page_words MATCH ? ORDER BY score DESC LIMIT ?",
                (*WEIGHTS, match, max(limit, 50)),
            ).fetchall()
        hits = []
        for score, rowid in found:
            page = self._page(rowid)
            here = current is not None and page.path == current.path
            hits.append(Hit(page, score * CURRENT_PAGE if here else score))
        hits.sort(key=lambda hit: -hit.score)
        pointed_at = len(terms) <= 2 and not _POINTERS.isdisjoint(words(question))
        if current is not None and (pointed_at or not hits):
            others = [hit for hit in hits if hit.page.path != current.path]
            hits = [Hit(current, hits[0].score if hits else 0.0), *others]
        return hits[:limit]

    def by_url(self, url: str) -> Page | None:
        """The page at an address, whatever its query and fragment."""
        try:
            bare = urldefrag(url).url.split("?")[0].encode().decode()
        except ValueError:
            return None  # not an address, or a lone surrogate: clients send what they like
        for candidate in (bare, bare.rstrip("/") + "/", bare.removesuffix("index.html")):
            row = self._db.execute("SELECT id FROM page WHERE url = ?", (candidate,)).fetchone()
            if row:
                return self._page(row[0])
        return None

    def rarity(self, stems: Iterable[str]) -> dict[str, float]:
        """How much each stem says, as its inverse document frequency over pages (at least 0.1).

        A stem that no page has says the most.
        """
        result = {}
        for term in set(stems):
            row = self._db.execute("SELECT doc FROM vocabulary WHERE term = ?", (term,)).fetchone()
            seen = row[0] if row else 0
            result[term] = max(0.1, math.log((self.size - seen + 0.5) / (seen + 0.5) + 1))
        return result

    def _page(self, rowid: int) -> Page:
        if rowid not in self._pages:
            path, title, url = self._db.execute(
                "SELECT path, title, url FROM page WHERE id = ?", (rowid,)
            ).fetchone()
            rows = self._db.execute(
                "SELECT heading, anchor, path, text FROM section WHERE page = ? ORDER BY ordinal",
                (rowid,),
            )
            sections = tuple(Section(h, a, tuple(json.loads(p)), t) for h, a, p, t in rows)
            self._pages[rowid] = Page(path, title, url, sections)
        return self._pages[rowid]


def digest(pages: Iterable[Page]) -> str:
    """A hash of everything that an index of `pages` would hold."""
    sha = hashlib.sha256(str(VERSION).encode())
    for page in pages:
        sha.update(repr(page).encode())
    return sha.hexdigest()


def _open(file: Path) -> sqlite3.Connection:
    # A URI, in which a "#" or "?" of the path must not end it.
    uri = f"{file.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, check_same_thread=False)


def is_current(file: Path, pages: list[Page]) -> bool:
    """Does `file` hold an index of exactly these pages?"""
    try:
        with closing(_open(file)) as db:
            row = db.execute("SELECT value FROM about WHERE key = 'digest'").fetchone()
    except sqlite3.Error:
        return False
    return bool(row) and row[0] == digest(pages)


def build(file: Path, pages: list[Page]) -> None:
    """Write an index of `pages` to `file`, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    db = sqlite3.connect(new)
    try:
        with db:
            db.executescript(_SCHEMA)
            for number, page in enumerate(pages, start=1):
                _insert(db, number, page)
            db.execute("INSERT INTO about VALUES ('digest', ?)", (digest(pages),))
            db.execute("INSERT INTO page_words (page_words) VALUES ('optimize')")
    finally:
        db.close()
    with new.open("rb") as written:
        os.fsync(written.fileno())
    new.replace(file)


def _insert(db: sqlite3.Connection, number: int, page: Page) -> None:
    db.execute("INSERT INTO page VALUES (?, ?, ?, ?)", (number, page.path, page.title, page.url))
    db.executemany(
        "INSERT INTO section VALUES (?, ?, ?, ?, ?, ?)",
        [
            (number, ordinal, s.heading, s.anchor, json.dumps(s.path), s.text)
            for ordinal, s in enumerate(page.sections)
        ],
    )
    headings = " \n".join(section.heading for section in page.sections)
    db.execute(
        "INSERT INTO page_words (rowid, title, headings, body) VALUES (?, ?, ?, ?)",
        (number, page.title, headings, page.text),
    )


def coverage(rarity: dict[str, float], wanted: Iterable[str], have: Iterable[str]) -> float:
    """The share of the stems `wanted` that `have` holds, each weighed by its rarity; 0 to 1."""
    wanted_set = set(wanted)
    total = sum(rarity[term] for term in wanted_set)
    if not total:
        return 0.0
    have_set = set(have)
    return sum(rarity[term] for term in wanted_set if term in have_set) / total


__all__ = ["Hit", "Index", "build", "coverage", "digest", "is_current", "stem"]
