"""Reads the search index, while another process may write it."""

import os
import sqlite3
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import fsum
from pathlib import Path
from urllib.parse import urldefrag

import numpy as np
import numpy.typing as npt

from wiki.index import passage_words, postings, rows, store, vectors
from wiki.index.postings import Lengths, Weighting
from wiki.index.rows import Embedders, StoredSource
from wiki.index.vectors import Floats, Vectors
from wiki.index.writer import Writer, writing
from wiki.pages.page import Page
from wiki.pages.words import stem
from wiki.rights import Groups

# A word in the title says more than one in the text. Measurements: research/notebook.md,
# "Finding the page".
WEIGHTING = Weighting(title=6.0, headings=2.0, body=1.0, k1=2.0, b=0.5)
# Maximum languages of a wiki in which a question is read: those of most pages.
LANGUAGES = 6
# Pages cached in memory.
CACHED_PAGES = 1000
# Cached IDF values: more than most wikis have stems.
IDFS = 100_000

# Device and inode, to detect that the file was replaced.
_Inode = tuple[int, int] | None


@dataclass
class Generation:
    """The data read from one generation of the index."""

    number: int
    lengths: Lengths
    vectors: Vectors | None = None
    vectors_read: bool = False
    embedders: Embedders | None = None
    of_sources: dict[tuple[str, ...], frozenset[int]] = field(default_factory=dict)
    idf: dict[str, float] = field(default_factory=dict)
    """The IDF of stems that have been requested."""

    @property
    def size(self) -> int:
        return len(self.lengths.numbers)


class Index:
    """An index file. Safe to use from any thread; each thread sees the latest commit."""

    def __init__(self, file: Path) -> None:
        """Raises NoIndex if the file is missing, outdated or damaged."""
        self.file = file
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._inode: _Inode = None
        self._mine = threading.local()
        self._page_cache: OrderedDict[int, Page] = OrderedDict()
        self._now: Generation | None = None
        self._vectors: Vectors | None = None
        self._loading = threading.Lock()
        try:
            with self.reading() as db:
                store.check(db, file)
                self.current(db)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().close()
            self._inode = None  # so that connections in use are closed when they are returned

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads by this thread within the block see one generation."""
        with self.reading():
            yield

    @property
    def generation(self) -> int:
        """A number that changes with every commit of pages or vectors."""
        with self.reading() as db:
            return self.current(db).number

    @property
    def size(self) -> int:
        """The number of pages."""
        with self.reading() as db:
            return self.current(db).size

    def sources(self) -> list[StoredSource]:
        """The wikis, by name."""
        with self.reading() as db:
            return [rows.read_source(*row) for row in db.execute(store.SOURCES)]

    def count(self, source: str) -> int:
        """The number of pages of a source."""
        with self.reading() as db:
            row = db.execute("SELECT count(*) FROM page WHERE source = ?", (source,)).fetchone()
            return int(row[0])

    def pages(self) -> list[Page]:
        """All pages, ordered by source and path."""
        with self.reading() as db:
            cursor = db.execute("SELECT path, title, url, sections FROM page ORDER BY source, path")
            return [rows.read_page(*row) for row in cursor]

    def numbers(self) -> list[int]:
        """The numbers of all pages, ascending. A number always stands for the same text of a
        page."""
        with self.reading() as db:
            return [number for (number,) in db.execute("SELECT number FROM page ORDER BY number")]

    def of(self, sources: Sequence[str]) -> frozenset[int]:
        """The numbers of the pages of these sources."""
        with self.reading() as db:
            cached = self.current(db).of_sources
            wanted = tuple(sorted(sources))
            if wanted not in cached:
                query = "SELECT number FROM page WHERE source = ?"
                rows = (row for name in wanted for row in db.execute(query, (name,)))
                cached[wanted] = frozenset(number for (number,) in rows)
            return cached[wanted]

    def paths(self) -> dict[str, int]:
        """The number of every page by its path; for the first source that has the path."""
        with self.reading() as db:
            return dict(db.execute("SELECT path, number FROM page ORDER BY source DESC"))

    def page(self, number: int) -> Page:
        """Raises KeyError: there is no page with that number (any more)."""
        with self._lock:
            if number in self._page_cache:
                self._page_cache.move_to_end(number)
                return self._page_cache[number]
        with self.reading() as db:
            row = db.execute(store.PAGE, (number,)).fetchone()
            if row is None:
                raise KeyError(number)
            page = rows.read_page(*row)
            # Where `cached_property` keeps it: detecting the language takes longer than reading.
            vars(page)["language"] = self.current(db).lengths.language(number)
            with self._lock:
                if self._mine.inode == self._inode:
                    self._page_cache[number] = page
                if len(self._page_cache) > CACHED_PAGES:
                    self._page_cache.popitem(last=False)
        return page

    def number(self, page: Page) -> int | None:
        """The number of a page that was read from this index."""
        with self.reading() as db:
            row = db.execute(
                "SELECT number FROM page WHERE path = ? AND url = ?", (page.path, page.url)
            ).fetchone()
            return int(row[0]) if row else None

    def readers(self, pages: Iterable[Page]) -> Groups:
        """The permissions required to read all of these pages."""
        return ()

    def by_path(self, path: str) -> Page | None:
        """The page with that path; from the first source that has one."""
        return self._first(
            "SELECT number FROM page WHERE path = ? ORDER BY source", rows.clean(path)
        )

    def at(self, source: str, path: str) -> Page | None:
        """The page with that path in that source."""
        query = "SELECT number FROM page WHERE source = ? AND path = ?"
        return self._first(query, rows.clean(source), rows.clean(path))

    def after(
        self, source: str, path: str, limit: int, in_folder: bool | None = None
    ) -> list[Page]:
        """The next pages of a source after a path, in path order, to read them a few at a time.

        Paths are in byte order, so that pages of one folder are adjacent.
        `in_folder`: only pages within a folder, or only those outside any folder.
        """
        query = (
            "SELECT path, title, url, sections FROM page WHERE source = ? AND path > ?"
            " AND (? IS NULL OR (instr(path, '/') > 0) = ?) ORDER BY path LIMIT ?"
        )
        values = (rows.clean(source), rows.clean(path), in_folder, in_folder, limit)
        with self.reading() as db:
            return [rows.read_page(*row) for row in db.execute(query, values)]

    def by_url(self, url: str) -> Page | None:
        """The page with that address, ignoring query and fragment."""
        try:
            bare = urldefrag(url).url.split("?")[0].encode().decode()
        except ValueError:
            return None  # not an address, or a lone surrogate: clients may send anything
        for candidate in (bare, bare.rstrip("/") + "/", bare.removesuffix("index.html")):
            if page := self._first("SELECT number FROM page WHERE url = ?", candidate):
                return page
        return None

    def match(
        self,
        terms: Sequence[str] | Mapping[str, float],
        limit: int,
        weighting: Weighting = WEIGHTING,
    ) -> list[tuple[int, float]]:
        """The pages with any of the words, best first: number and BM25 score above 0.

        Args:
            terms: words in any form, of which repeated words count repeatedly; or stems with
                their weights.
            limit: the maximum number of pages.
            weighting: the parameters of BM25.
        """
        if not isinstance(terms, Mapping):
            counts: Counter[str] = Counter()
            for language in self.languages()[:LANGUAGES] or ("",):
                counts |= Counter(stem(word, language) for word in terms)
            terms = counts
        return self.match_each([terms], limit, weighting)[0]

    def match_each(
        self,
        readings: Sequence[Mapping[str, float]],
        limit: int,
        weighting: Weighting = WEIGHTING,
        within: Collection[int] | None = None,
    ) -> list[list[tuple[int, float]]]:
        """Runs `match` for each reading of a question; readings share most of their words.

        `within`: limits the result to these pages.
        """
        wanted = [
            {rows.clean(term): weight for term, weight in reading.items()} for reading in readings
        ]
        with self.reading() as db:
            lengths = self.current(db).lengths
            scored = lengths.match(db, wanted, weighting)
        if within is not None:
            inside = np.isin(lengths.numbers, np.fromiter(within, np.int64, len(within)))
            scored = [scores * inside for scores in scored]
        return [_best(scores, lengths.numbers, limit) for scores in scored]

    def idf(self, stems: Iterable[str]) -> dict[str, float]:
        """The inverse document frequency of each stem over pages (at least 0.1).

        A stem that is on no page has the highest value.
        """
        with self.reading() as db:
            now = self.current(db)
            wanted = set(stems)
            known = {term: now.idf[term] for term in wanted & now.idf.keys()}
            if new := wanted - known.keys():
                clean = {term: term if term.isascii() else rows.clean(term) for term in new}
                having = now.lengths.having(db, list(clean.values()), WEIGHTING)
                # A misspelt word has hundreds of neighbours, few of which are words.
                computed = dict.fromkeys(new, max(0.1, postings.idf(now.size, 0)))
                for term, stored in clean.items():
                    if stored in having:
                        computed[term] = max(0.1, postings.idf(now.size, having[stored]))
                if len(now.idf) < IDFS:
                    now.idf |= computed
                known |= computed
        return known

    def passage_sums(
        self, numbers: Sequence[int], readings: Sequence[Mapping[str, float]]
    ) -> dict[int, passage_words.Sums]:
        """Which of the stems the passages of these pages contain, and their total weight, for each
        reading of a question."""
        clean = [{rows.clean(term): w for term, w in weights.items()} for weights in readings]
        with self.reading() as db:
            return passage_words.sums(db, numbers, clean)

    def languages(self) -> tuple[str, ...]:
        """The languages of the pages, those of most pages first: see `asking.LANGUAGES`."""
        with self.reading() as db:
            return self.current(db).lengths.languages

    def vocabulary(self) -> dict[str, int]:
        """Every stem of the wiki, with the number of its pages."""
        with self.reading() as db:
            return dict(postings.vocabulary(db))

    def vectors(self) -> Vectors | None:
        """The vectors of all pages, or None if there are none. Reads only changes."""
        with self.reading() as db:
            now = self.current(db)
            with self._loading:
                if not now.vectors_read:
                    before = self._vectors
                    if before is not None and before.generation > now.number:
                        before = None  # this thread's snapshot is older
                    serving = self.embedders().serving
                    if serving is not None:
                        now.vectors = vectors.load(
                            db, serving, now.number, now.lengths.numbers, before, self._fetch
                        )
                    self._vectors = now.vectors
                    now.vectors_read = True
            return now.vectors

    def embedded(self) -> tuple[str | None, int]:
        """The model whose vectors are in use, and the number of pages that have vectors."""
        with self.reading() as db:
            serving = self.embedders().serving
            query = "SELECT count(*) FROM signs WHERE model = ?"
            (count,) = db.execute(query, (serving,)).fetchone()
            return (serving, count) if count else (None, 0)

    def embedders(self) -> Embedders:
        """The embedding models that the index knows."""
        with self.reading() as db:
            now = self.current(db)
            if now.embedders is None:
                now.embedders = rows.read_embedders(*db.execute(store.EMBEDDERS).fetchone())
            return now.embedders

    def _first(self, query: str, *values: str) -> Page | None:
        with self.reading() as db:
            row = db.execute(query + " LIMIT 1", values).fetchone()
            return self.page(row[0]) if row else None

    def _fetch(self, model: str, numbers: Sequence[int]) -> list[tuple[int, bytes, bytes]]:
        """The packed vectors of these pages, if they exist."""
        with self.reading() as db:
            places = ", ".join("?" * len(numbers))
            return db.execute(f"{store.VECTORS} ({places})", (model, *numbers)).fetchall()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction: this thread's current one, or a new one."""
        mine: sqlite3.Connection | None = getattr(self._mine, "db", None)
        if mine is not None:
            yield mine
            return
        try:
            db, inode = self._take()
            try:
                db.execute("BEGIN")
                self._mine.db, self._mine.inode = db, inode
                yield db
            finally:
                self._mine.db = None
                self._give_back(db, inode)
        except sqlite3.Error as error:
            raise store.explained(error, self.file) from error

    def _take(self) -> tuple[sqlite3.Connection, _Inode]:
        with self._lock:
            try:
                status = os.stat(self.file)
            except OSError:
                pass  # open connections can still read
            else:
                if self._inode != (status.st_dev, status.st_ino):  # the file was replaced
                    while self._idle:
                        self._idle.pop().close()
                    self._page_cache.clear()
                    self._now = self._vectors = None
                    self._inode = (status.st_dev, status.st_ino)
            if self._idle:
                return self._idle.pop(), self._inode
            inode = self._inode
        return store.connect(self.file), inode

    def _give_back(self, db: sqlite3.Connection, inode: _Inode) -> None:
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
            with self._lock:
                if inode == self._inode:
                    self._idle.append(db)
                    return
        except sqlite3.Error:
            db.close()
            raise
        db.close()

    def current(self, db: sqlite3.Connection) -> Generation:
        (generation,) = db.execute("SELECT generation FROM state").fetchone()
        now = self._now
        if now is None or now.number != generation:
            now = self._now = Generation(generation, Lengths(db))
        return now


def _best(scores: Floats, numbers: npt.NDArray[np.uint32], limit: int) -> list[tuple[int, float]]:
    if limit < len(scores):
        best = np.argpartition(scores, len(scores) - limit)[-limit:]
    else:
        best = np.arange(len(scores))
    best = best[scores[best] > 0]
    best = best[np.lexsort((best, -scores[best]))]
    return list(zip(numbers[best].tolist(), scores[best].tolist(), strict=True))


def build(file: Path, pages: Iterable[Page]) -> None:
    """Builds an index of exactly these pages, for a source without a name. Raises as `writing`."""
    with writing(file) as writer:
        gone = set(writer.known(""))
        for page in pages:
            writer.put("", page, "")
            gone.discard(page.path)
        for path in gone:
            writer.remove("", path)


def coverage(idf: Mapping[str, float], wanted: Iterable[str], have: Iterable[str]) -> float:
    """The share of the stems `wanted` that `have` contains, weighted by IDF; 0 to 1.

    `fsum`, here and wherever a set is summed: set order differs between processes, and an
    order-dependent sum could decide differently between equally good sections.
    """
    wanted_set = wanted if isinstance(wanted, set | frozenset) else set(wanted)
    total = fsum([idf[term] for term in wanted_set])
    if not total:
        return 0.0
    have_set = have if isinstance(have, set | frozenset) else set(have)
    return fsum([idf[term] for term in wanted_set & have_set]) / total


__all__ = [
    "Index",
    "StoredSource",
    "Writer",
    "build",
    "coverage",
    "writing",
]
