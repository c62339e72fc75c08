"""The inverted index: which words occur in which pages, and BM25 scores.

SQLite's full-text search, FTS5, scores every page with any of the words, row by row: a question of
20 words takes 0.1 s over 10,000 pages. Here, a word's pages are stored as arrays of numbers, so
that a question takes a few array additions; research/notebook.md, "A hundred thousand pages",
compares both.
"""

import copy
import math
import sqlite3
import threading
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wiki.pages.asking import LANGUAGES
from wiki.pages.page import Page
from wiki.pages.words import stems

# Postings that the writer holds in memory before storing them, 11 bytes each plus the words.
PENDING = 4_000_000
# A word on more than this share of the pages gets an array over all pages, which is faster.
OFTEN = 0.05
# Bytes of unpacked words in the cache, and the overhead per word: questions share many words, and
# one question is searched in several readings.
CACHED_BYTES = 128 * 2**20
ENTRY = 500

SCHEMA = """
CREATE TABLE posting (term TEXT PRIMARY KEY, pages BLOB NOT NULL, counts BLOB NOT NULL);
CREATE TABLE length (pages BLOB NOT NULL, counts BLOB NOT NULL, languages BLOB NOT NULL);
INSERT INTO length VALUES (x'', x'', x'');
"""


class Weighting(NamedTuple):
    """The parameters of BM25.

    Robertson, Zaragoza and Taylor, Simple BM25 extension to multiple weighted fields, CIKM 2004.
    """

    title: float
    headings: float
    body: float
    k1: float
    """The gain from repeated occurrences of a word: 0 means none."""
    b: float
    """The penalty on long pages: 0 means none, 1 is proportional to their length."""


class Gains(NamedTuple):
    """The BM25 gain of a word for each page."""

    having: int
    """The number of pages with the word."""
    places: npt.NDArray[np.int32] | slice
    """The indices of the pages; a slice means all pages, including those without the word."""
    gains: npt.NDArray[np.float32]
    """0 to 1"""

    @property
    def bytes(self) -> int:
        places = 0 if isinstance(self.places, slice) else self.places.nbytes
        return ENTRY + places + self.gains.nbytes


class Postings:
    """The inverted index of an index file, in its writer's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._clear()

    def _clear(self) -> None:
        # Flat arrays: a list for each of some 100,000 words would take ten times as much memory.
        self._ids: dict[str, int] = {}
        self._terms = array("I")
        self._pages = array("I")
        self._counts = bytearray()
        self._lengths: list[tuple[int, list[int], int]] = []
        self._gone: dict[str, set[int]] = {}
        self._gone_pages: set[int] = set()

    def add(self, number: int, page: Page) -> None:
        if number in self._gone_pages:
            self.store()  # a copy of a shared index may reuse a number for another page
        lengths, counts = _count(page)
        for term, of_fields in counts.items():
            self._terms.append(self._ids.setdefault(term, len(self._ids)))
            self._pages.append(number)
            self._counts += bytes(of_fields)
        self._lengths.append((number, lengths, LANGUAGES.index(page.language)))
        if len(self._terms) > PENDING:
            self.store()

    def remove(self, number: int, page: Page) -> None:
        """`page` must be the same as when it was added."""
        for term in _count(page)[1]:
            self._gone.setdefault(term, set()).add(number)
        self._gone_pages.add(number)

    def store(self) -> None:
        """Write the additions and removals."""
        self._store_added()
        for term, gone in self._gone.items():
            row = self._db.execute(
                "SELECT pages, counts FROM posting WHERE term = ?", (term,)
            ).fetchone()
            pages, counts = _without(row, gone, np.uint8)
            if len(pages):
                self._db.execute(
                    "UPDATE posting SET pages = ?, counts = ? WHERE term = ?",
                    (pages.tobytes(), counts.tobytes(), term),
                )
            else:
                self._db.execute("DELETE FROM posting WHERE term = ?", (term,))
        if self._lengths or self._gone_pages:
            row = self._db.execute("SELECT pages, counts, languages FROM length").fetchone()
            numbers, lengths, languages = row
            numbers += np.array([number for number, _, _ in self._lengths], np.uint32).tobytes()
            lengths += np.array([counts for _, counts, _ in self._lengths], np.uint16).tobytes()
            languages += bytes(language for _, _, language in self._lengths)
            pages, of_pages = _without((numbers, languages), self._gone_pages, np.uint8, 1)
            pages, counts = _without((numbers, lengths), self._gone_pages, np.uint16)
            self._db.execute(
                "UPDATE length SET pages = ?, counts = ?, languages = ?",
                (pages.tobytes(), counts.tobytes(), of_pages.tobytes()),
            )
        self._clear()

    def _store_added(self) -> None:
        terms = np.frombuffer(self._terms, np.uint32)
        order = np.argsort(terms, kind="stable")
        starts = np.searchsorted(terms[order], np.arange(len(self._ids) + 1))
        pages = np.frombuffer(self._pages, np.uint32)[order]
        counts = np.frombuffer(bytes(self._counts), np.uint8).reshape(-1, 3)[order]

        def rows() -> Iterator[tuple[str, bytes, bytes]]:
            for term in sorted(self._ids):  # in table order, which is faster
                number = self._ids[term]
                here = slice(starts[number], starts[number + 1])
                yield term, pages[here].tobytes(), counts[here].tobytes()

        self._db.executemany(
            "INSERT INTO posting VALUES (?, ?, ?) ON CONFLICT (term) DO UPDATE SET"
            # SQLite's || returns text with the same bytes.
            " pages = CAST(pages || excluded.pages AS BLOB),"
            " counts = CAST(counts || excluded.counts AS BLOB)",
            rows(),
        )


def _count(page: Page) -> tuple[list[int], dict[str, list[int]]]:
    """The words in title, headings and body, and their counts, up to 255."""
    headings = "\n".join(section.heading for section in page.sections)
    lengths = []
    counts: dict[str, list[int]] = {}
    for at, text in enumerate((page.title, headings, page.text)):
        counted = Counter(stems(text, page.language))
        lengths.append(min(counted.total(), 65535))
        for term, times in counted.items():
            counts.setdefault(term, [0, 0, 0])[at] = min(times, 255)
    return lengths, counts


def _without(
    row: tuple[bytes, bytes], gone: set[int], kind: type[Any], width: int = 3
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[Any]]:
    pages = np.frombuffer(row[0], np.uint32)
    counts = np.frombuffer(row[1], kind).reshape(-1, width)
    if not gone:
        return pages, counts
    stay = ~np.isin(pages, np.fromiter(gone, np.uint32))
    return pages[stay], counts[stay]


class Lengths:
    """The pages of one generation of an index, with their lengths."""

    def __init__(self, db: sqlite3.Connection) -> None:
        row = db.execute("SELECT pages, counts, languages FROM length").fetchone()
        numbers, lengths, languages = row
        stored = np.frombuffer(numbers, np.uint32)
        order = np.argsort(stored, kind="stable")
        self.numbers = stored[order]
        """[n], ascending"""
        # The index of each page number in `numbers`: a table look-up instead of a search.
        self._places = np.zeros(int(self.numbers[-1]) + 1 if len(order) else 0, np.int32)
        self._places[self.numbers] = np.arange(len(order), dtype=np.int32)
        self._lengths = np.frombuffer(lengths, np.uint16).reshape(-1, 3)[order]
        self._languages = np.frombuffer(languages, np.uint8)[order]
        self._norms: dict[Weighting, npt.NDArray[np.float32]] = {}
        self._gains_cache: OrderedDict[tuple[str, Weighting], Gains] = OrderedDict()
        self._gains_cache_bytes = 0
        self._keeping = threading.Lock()
        self._is_part = False

    def only(self, mask: npt.NDArray[np.bool_]) -> "Lengths":
        """Only these pages, as if there were no others. `mask` is in the order of `numbers`."""
        part = copy.copy(self)
        part.__dict__.pop("languages", None)
        part.numbers = self.numbers[mask]
        part._places = np.full(len(self._places), -1, np.int32)
        part._places[part.numbers] = np.arange(len(part.numbers), dtype=np.int32)
        part._lengths = self._lengths[mask]
        part._languages = self._languages[mask]
        part._norms, part._gains_cache, part._gains_cache_bytes = {}, OrderedDict(), 0
        part._keeping = threading.Lock()
        part._is_part = True
        return part

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """The languages of the pages, those of most pages first."""
        counts = np.bincount(self._languages)
        return tuple(LANGUAGES[n] for n in np.argsort(-counts, kind="stable") if counts[n])

    def language(self, number: int) -> str:
        """The language of a page that exists."""
        return str(LANGUAGES[self._languages[self._places[number]]])

    def has(self, number: int) -> bool:
        """Whether a page of that number exists."""
        if not 0 <= number < len(self._places):
            return False
        place = self._places[number]
        return bool(place >= 0 and self.numbers[place] == number)

    def has_each(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """For pages that exist, or existed when the index was read."""
        there = np.zeros(max(len(self._places), int(numbers.max(initial=0)) + 1), np.bool_)
        there[self.numbers] = True
        return there[numbers]

    def having(
        self, db: sqlite3.Connection, terms: Sequence[str], weighting: Weighting
    ) -> dict[str, int]:
        """The number of these pages with each stem, for stems that occur on any page.

        For a subset of pages it is counted from data that a search with this weighting needs
        anyway.
        """
        counts = pages_with(db, terms)
        if self._is_part:
            counts = {term: self._gains(db, term, weighting).having for term in counts}
        return counts

    def match(
        self, db: sqlite3.Connection, readings: Sequence[Mapping[str, float]], weighting: Weighting
    ) -> list[npt.NDArray[np.float32]]:
        """The score of every page, in the order of `numbers`: 0 if it has none of the words.

        Args:
            db: a connection to the same generation.
            readings: of one question: weights of stems. Stems with the same weight in all
                readings are added up once.
        """
        common = set.intersection(*(set(reading.items()) for reading in readings))
        scores = np.zeros(len(self.numbers), np.float32)
        self._add(db, [item for item in readings[0].items() if item in common], weighting, scores)
        scored = []
        for reading in readings:
            own = scores.copy() if len(readings) > 1 else scores
            self._add(db, [item for item in reading.items() if item not in common], weighting, own)
            scored.append(own)
        return scored

    def _add(
        self,
        db: sqlite3.Connection,
        terms: Iterable[tuple[str, float]],
        weighting: Weighting,
        scores: npt.NDArray[np.float32],
    ) -> None:
        for term, weight in terms:
            gains = self._gains(db, term, weighting)
            if gains.having:
                says = weight * idf(len(self.numbers), gains.having) * (weighting.k1 + 1)
                scores[gains.places] += np.float32(says) * gains.gains

    def _gains(self, db: sqlite3.Connection, term: str, weighting: Weighting) -> Gains:
        """The gain of a word for each page."""
        key = term, weighting
        with self._keeping:
            if cached := self._gains_cache.get(key):
                self._gains_cache.move_to_end(key)
                return cached
        gains = self._read_gains(db, term, weighting)
        with self._keeping:
            if key not in self._gains_cache:
                self._gains_cache[key] = gains
                self._gains_cache_bytes += gains.bytes
            while self._gains_cache_bytes > CACHED_BYTES:
                self._gains_cache_bytes -= self._gains_cache.popitem(last=False)[1].bytes
        return gains

    def _read_gains(self, db: sqlite3.Connection, term: str, weighting: Weighting) -> Gains:
        row = db.execute("SELECT pages, counts FROM posting WHERE term = ?", (term,)).fetchone()
        pages, counts = _without(row or (b"", b""), set(), np.uint8)
        places = self._places[pages]
        having = len(places)
        if self._is_part:
            here = places >= 0
            having = int(np.count_nonzero(here))
            if having <= OFTEN * len(self.numbers):
                there = np.flatnonzero(here)
                places, counts = places[there], counts[there]
        title, headings, body = counts.T.astype(np.float32)
        times = weighting.title * title + weighting.headings * headings + weighting.body * body
        gains = times / (times + self._norm(weighting)[places])
        if having <= OFTEN * len(self.numbers):
            return Gains(having, places, gains)
        # The extra element at -1 collects the pages outside this subset.
        of_all = np.zeros(len(self.numbers) + 1, np.float32)
        of_all[places] = gains
        return Gains(having, slice(None), of_all[:-1])

    def _norm(self, weighting: Weighting) -> npt.NDArray[np.float32]:
        """The length normalisation of each page in BM25."""
        if weighting not in self._norms:
            length = self._lengths.sum(axis=1, dtype=np.float32)
            mean = max(float(length.mean()), 1.0) if len(length) else 1.0
            self._norms[weighting] = weighting.k1 * (
                1 - weighting.b + weighting.b * length / np.float32(mean)
            )
        return self._norms[weighting]


def idf(pages: int, having: int) -> float:
    """The information value of a word on `having` of the pages; never below 0."""
    return math.log((pages - having + 0.5) / (having + 0.5) + 1)


def pages_with(db: sqlite3.Connection, terms: Sequence[str]) -> dict[str, int]:
    """The number of pages with each of these stems; omits stems without pages."""
    counts: dict[str, int] = {}
    # A misspelt word has some 500 neighbours; SQLite accepts at most 32,766 values.
    for start in range(0, len(terms), 1000):
        some = terms[start : start + 1000]
        places = ", ".join("?" * len(some))
        counts.update(
            db.execute(
                f"SELECT term, length(pages) / 4 FROM posting WHERE term IN ({places})",  # noqa: S608
                some,
            ).fetchall()
        )
    return counts


def vocabulary(db: sqlite3.Connection) -> Iterable[tuple[str, int]]:
    """Every stem, with its number of pages."""
    return db.execute("SELECT term, length(pages) / 4 FROM posting")
