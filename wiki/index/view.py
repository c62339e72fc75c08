"""A reader's view of the index: the only place where permissions are applied.

A view answers like an index of the reader's pages only: pages that the reader may not read do not
affect word counts, the mean page length or the nearest vectors, so neither a score nor a refusal
reveals them. `Rights.seen_by` creates views; code that serves people has no other
access to pages.
"""

import logging
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from wiki.index import postings, rows, store
from wiki.index.index import WEIGHTING, Generation, Index
from wiki.index.rows import StoredSource
from wiki.index.vectors import Vectors
from wiki.pages.page import Page
from wiki.rights import (
    EVERY,
    NOBODY,
    PAGE,
    Groups,
    Reader,
    Right,
    both,
    dump,
    included,
    load,
    simplified,
)
from wiki.rules import Rule, Rules

log = logging.getLogger("askdocs.search")

# Cached views, each with its loaded data: people with the same groups share one.
CACHED_VIEWS = 64

# The kind of pages without groups.
WITHOUT_GROUPS = 0

Numbers = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Access:
    """Page permissions in one generation of an index."""

    numbers: Numbers
    """The numbers of all pages, ascending."""
    kinds: npt.NDArray[np.int32]
    """[n]: the index in `groups` for each page."""
    groups: tuple[Groups | None, ...]
    names: frozenset[str]
    """All group names on any page."""

    def of(self, number: int) -> Groups | None:
        """The groups of a page, including the rules."""
        return self.groups[int(self.kinds[np.searchsorted(self.numbers, number)])]

    def visible(self, reader: Reader) -> npt.NDArray[np.bool_]:
        """[n]: may the reader read the page?"""
        return np.array([reader.may_read(groups) for groups in self.groups], np.bool_)[self.kinds]


class Rights:
    """Opens an index to readers. Safe to use from any thread."""

    def __init__(self, index: Index, rules: Rules) -> None:
        self._index = index
        self._rules = rules
        self._lock = threading.Lock()
        self._now: tuple[Generation, Access | None, tuple[str, ...]] | None = None
        self._named: tuple[Access, str] | None = None
        self._views: OrderedDict[Reader, View] = OrderedDict()

    def access(self) -> Access | None:
        """The page permissions; None if everybody may read everything."""
        with self._index.reading() as db:
            return self.access_of(db, self._index.current(db))

    def without_pages(self) -> tuple[str, ...]:
        """The names of rules that protect no page of the index."""
        with self._index.reading() as db:
            return self._at(db, self._index.current(db))[1]

    def closed(self) -> int:
        """The number of pages that nobody may read because they have no groups."""
        access = self.access()
        if access is None or access.groups[WITHOUT_GROUPS] is None:
            return 0
        return int(np.count_nonzero(access.kinds == WITHOUT_GROUPS))

    def readers(self, page: Page) -> Groups:
        """The permissions required to read a page. Raises KeyError if the page is gone."""
        with self._index.reading():
            access, number = self.access(), self._index.number(page)
            if number is None:
                raise KeyError(page.path)
            return (access.of(number) if access else None) or ()

    def revision(self) -> str:
        """An identifier of all page permissions, which changes with them and is equal on all
        gateways."""
        with self._index.reading() as db:
            access = self.access_of(db, self._index.current(db))
            if access is None:
                return "open"
            with self._lock:
                if self._named is None or self._named[0] is not access:
                    lines = sorted(f"{url} {groups}\n" for url, groups in _listed(db, access))
                    self._named = access, sha256("".join(lines).encode()).hexdigest()[:16]
                return self._named[1]

    def every(self) -> frozenset[Right]:
        """All pages with their permissions."""
        with self._index.reading() as db:
            access = self.access_of(db, self._index.current(db))
            if access is None:
                return frozenset({(EVERY, "[]")})
            return frozenset((url, groups or "[]") for url, groups in _listed(db, access))

    def access_of(self, db: sqlite3.Connection, now: Generation) -> Access | None:
        return self._at(db, now)[0]

    def _at(self, db: sqlite3.Connection, now: Generation) -> tuple[Access | None, tuple[str, ...]]:
        with self._lock:
            if self._now is None or self._now[0] is not now:
                access, unused = _access(db, now.lengths.numbers, self._rules)
                if unused and (self._now is None or self._now[2] != unused):
                    for name in unused:
                        log.warning("[gateway.rights.%s] protects no page of the index", name)
                self._now = now, access, unused
            return self._now[1:]

    def seen_by(self, reader: Reader) -> "View":
        """The index, limited to the reader's pages."""
        if reader.groups is not None:
            # Only groups that pages name make a difference.
            access = self.access()
            reader = Reader(reader.groups & access.names if access else frozenset())
        with self._lock:
            view = self._views.pop(reader, None) or View(self._index, self, reader)
            self._views[reader] = view
            if len(self._views) > CACHED_VIEWS:
                self._views.popitem(last=False)
            return view


def _listed(db: sqlite3.Connection, access: Access) -> Iterator[tuple[str, str | None]]:
    """Yields the address of each page, and its groups in stored form."""
    groups = [dump(some) for some in access.groups]
    kinds = dict(zip(access.numbers.tolist(), access.kinds.tolist(), strict=True))
    for number, url in db.execute("SELECT number, url FROM page"):
        yield url, groups[kinds[number]]


def _access(
    db: sqlite3.Connection, numbers: Numbers, rules: Rules
) -> tuple[Access | None, tuple[str, ...]]:
    """The permissions of all pages, and the rules that protect no page."""
    own, including = _own(db)
    by_rule: dict[int, tuple[str, ...]] = {}
    unused = []
    for name, rule in rules.rules.items():
        # A page inherits the rules for the files that it includes.
        pages = _pages(db, rule) | {
            number
            for number, (source, paths) in including.items()
            if any(rule.covers(source, path) for path in paths)
        }
        for number in pages:
            by_rule[number] = (*by_rule.get(number, ()), name)
        if not pages:
            unused.append(name)
    if not own and not rules.rules and rules.without_groups != "nobody":
        return None, ()
    kinds: dict[tuple[str | None, tuple[str, ...]], int] = {(None, ()): WITHOUT_GROUPS}
    groups: list[Groups | None] = [None if rules.without_groups == "everybody" else NOBODY]
    of_pages = np.full(len(numbers), WITHOUT_GROUPS, np.int32)
    named = np.fromiter(sorted(own.keys() | by_rule.keys()), np.int64)
    places = np.searchsorted(numbers, named)
    for number, place in zip(named.tolist(), places.tolist(), strict=True):
        key = own.get(number), by_rule.get(number, ())
        if key not in kinds:
            kinds[key] = len(groups)
            needed = load(key[0])
            for name in key[1]:
                needed = both(needed, (rules.rules[name].readers,))
            groups.append(needed)
        of_pages[place] = kinds[key]
    _close_answers(db, numbers, of_pages, groups)
    names = frozenset(name for sets in groups for some in sets or () for name in some)
    return Access(numbers, of_pages, tuple(groups), names), tuple(unused)


def _close_answers(
    db: sqlite3.Connection,
    numbers: Numbers,
    of_pages: npt.NDArray[np.int32],
    groups: list[Groups | None],
) -> None:
    """Close each approved answer to those who may not read all pages with the path it cites."""
    needed: dict[int, Groups | None] = {}
    for answer, cited in db.execute(store.CITING):
        place = int(np.searchsorted(numbers, answer))
        if place not in needed:  # it has no groups of its own, but a rule may name it
            kind = of_pages[place]
            needed[place] = None if kind == WITHOUT_GROUPS else groups[kind]
        of_cited: Groups | None = NOBODY
        if cited is not None:
            of_cited = groups[of_pages[np.searchsorted(numbers, cited)]]
        needed[place] = both(needed[place], of_cited)
    for place, of_answer in needed.items():
        if of_answer != groups[of_pages[place]]:
            of_pages[place] = len(groups)
            groups.append(of_answer)


def _own(db: sqlite3.Connection) -> tuple[dict[int, str], dict[int, tuple[str, tuple[str, ...]]]]:
    """The pages' own groups, and the wiki and the included files of pages that include any."""
    own: dict[int, str] = {}
    including: dict[int, tuple[str, tuple[str, ...]]] = {}
    query = "SELECT number, source, groups FROM page WHERE groups IS NOT NULL"
    for number, source, stored in db.execute(query):
        text: str | None = stored
        if f'"{PAGE}' in stored:
            groups, paths = included(load(stored))
            text, including[number] = dump(groups), (source, paths)
        if text is not None:
            own[number] = text
    return own, including


def _pages(db: sqlite3.Connection, rule: Rule) -> set[int]:
    """The pages that a rule covers."""
    query, values = "SELECT number FROM page WHERE 1", []
    if rule.wiki:
        query += " AND source = ?"
        values.append(rule.wiki)
    if rule.path.endswith("/"):
        query += " AND path >= ? AND path < ?"
        values += [rule.path, rule.path[:-1] + "0"]  # the character after "/"
    elif rule.path:
        query += " AND path = ?"
        values.append(rule.path)
    return {number for (number,) in db.execute(query, values)}


class View(Index):
    """An index limited to one reader's pages."""

    def __init__(self, index: Index, rights: Rights, reader: Reader) -> None:
        self.file = index.file
        self.reader = reader
        self._base = index
        self._rights = rights
        self._loading = threading.Lock()
        self._of: tuple[Generation, Generation] | None = None

    def close(self) -> None:
        """Does nothing: the index stays open."""

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with self._base.reading() as db:
            yield db

    def current(self, db: sqlite3.Connection) -> Generation:
        whole = self._base.current(db)
        if self.reader.groups is None:
            return whole
        of = self._of
        if of is None or of[0] is not whole:
            access = self._rights.access_of(db, whole)
            mine = whole
            if access is not None and not (seen := access.visible(self.reader)).all():
                mine = Generation(whole.number, whole.lengths.only(seen))
            of = self._of = whole, mine
        return of[1]

    def _sees_all(self, db: sqlite3.Connection) -> bool:
        return self.current(db) is self._base.current(db)

    def sources(self) -> list[StoredSource]:
        """The wikis with any readable page, by name."""
        with self.reading() as db:
            every = self._base.sources()
            if self._sees_all(db):
                return every
            return [source for source in every if self.count(source.name)]

    def count(self, source: str) -> int:
        with self.reading() as db:
            if self._sees_all(db):
                return self._base.count(source)
            return len(self.of([source]))

    def pages(self) -> list[Page]:
        with self.reading() as db:
            if self._sees_all(db):
                return self._base.pages()
            query = "SELECT number, path, title, url, sections FROM page ORDER BY source, path"
            has = self.current(db).lengths.has
            return [rows.read_page(*row) for number, *row in db.execute(query) if has(number)]

    def numbers(self) -> list[int]:
        with self.reading() as db:
            return [int(number) for number in self.current(db).lengths.numbers]

    def of(self, sources: Sequence[str]) -> frozenset[int]:
        with self.reading() as db:
            every = self._base.of(sources)
            if self._sees_all(db):
                return every
            cached, wanted = self.current(db).of_sources, tuple(sorted(sources))
            if wanted not in cached:
                has = self.current(db).lengths.has
                cached[wanted] = frozenset(number for number in every if has(number))
            return cached[wanted]

    def paths(self) -> dict[str, int]:
        with self.reading() as db:
            if self._sees_all(db):
                return self._base.paths()
            has = self.current(db).lengths.has
            cursor = db.execute("SELECT path, number FROM page ORDER BY source DESC")
            return {path: number for path, number in cursor if has(number)}

    def page(self, number: int) -> Page:
        with self.reading() as db:
            if not self.current(db).lengths.has(number):
                raise KeyError(number)
            return self._base.page(number)

    def readers(self, pages: Iterable[Page]) -> Groups:
        with self.reading() as db:
            access = self._rights.access_of(db, self._base.current(db))
            if access is None:
                return ()
            numbers = (self.number(page) for page in pages)
            # The page has been deleted meanwhile: its readers are unknown.
            needed = (NOBODY if number is None else access.of(number) for number in numbers)
            return simplified(some for groups in needed for some in groups or ())

    def number(self, page: Page) -> int | None:
        with self.reading() as db:
            has = self.current(db).lengths.has
            query = "SELECT number FROM page WHERE path = ? AND url = ?"
            candidates = db.execute(query, (page.path, page.url)).fetchall()
            return next((number for (number,) in candidates if has(number)), None)

    def after(
        self, source: str, path: str, limit: int, in_folder: bool | None = None
    ) -> list[Page]:
        with self.reading() as db:
            if self._sees_all(db):
                return self._base.after(source, path, limit, in_folder)
            has = self.current(db).lengths.has
            query = (
                "SELECT number FROM page WHERE source = ? AND path > ?"
                " AND (? IS NULL OR (instr(path, '/') > 0) = ?) ORDER BY path"
            )
            values = (rows.clean(source), rows.clean(path), in_folder, in_folder)
            numbers = []
            for (number,) in db.execute(query, values):
                if has(number):
                    numbers.append(number)
                    if len(numbers) == limit:
                        break
            return [
                rows.read_page(*db.execute(store.PAGE, (number,)).fetchone()) for number in numbers
            ]

    def vocabulary(self) -> dict[str, int]:
        with self.reading() as db:
            every = [term for term, _ in postings.vocabulary(db)]
            return {
                term: having
                for term, having in self.current(db).lengths.having(db, every, WEIGHTING).items()
                if having
            }

    def vectors(self) -> Vectors | None:
        with self.reading() as db:
            whole, now = self._base.vectors(), self.current(db)
            if whole is None or now is self._base.current(db):
                return whole
            with self._loading:
                if not now.vectors_read:
                    now.vectors = whole.only(now.lengths.has_each(whole.pages))
                    now.vectors_read = True
            return now.vectors

    def _first(self, query: str, *values: str) -> Page | None:
        with self.reading() as db:
            has = self.current(db).lengths.has
            numbers = (number for (number,) in db.execute(query, values).fetchall() if has(number))
            number = next(numbers, None)
            return None if number is None else self.page(number)
