"""The embeddings of all passages, and nearest-neighbour search among them.

Up to EXACT passages, all are compared in memory, in 8 bits per number. Beyond that, only signs are
kept in memory, one bit per number, and passages are sorted by the number of different signs. For
the nearest ones, the signs are weighted by the question's numbers, and the best pages are compared
exactly, with vectors read from the index file.

Products use `vecdot`, which runs in one thread: `@` would distribute so little work over all cores
that waiting for each other doubles the time (measured on two cores).
"""

import copy
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

# Bits per word in which signs are compared.
WORD = 64
# 100,000 passages, some 5,000 pages, take 38 MB and 10 ms.
EXACT = 100_000
# Passages whose signs are weighted, and pages that are compared exactly. Measured losses:
# research/notebook.md, "A hundred thousand pages".
NEAR = 8_000
COMPARED = 400
# Passages whose signs are compared at a time, and passages whose vectors are: small enough for the
# processor's cache.
BLOCK = 2**14
AT_ONCE = 256
# The bits of every byte, [256, 8].
BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32)

SCHEMA = """
CREATE TABLE vectors (
    page INTEGER NOT NULL, model TEXT NOT NULL, generation INTEGER NOT NULL,
    scales BLOB NOT NULL, matrix BLOB NOT NULL, PRIMARY KEY (page, model)
);
CREATE TABLE signs (
    page INTEGER NOT NULL, model TEXT NOT NULL, generation INTEGER NOT NULL,
    chunks INTEGER NOT NULL, bits BLOB NOT NULL, PRIMARY KEY (page, model)
);
CREATE INDEX vectors_generation ON vectors (generation);
CREATE INDEX signs_generation ON signs (generation);
"""

Fetch = Callable[[str, Sequence[int]], Sequence[tuple[int, bytes, bytes]]]
"""Reads a model's vectors for pages from the index file: page, scales and matrix of each that
exists."""


class Packed(NamedTuple):
    """The stored vectors of one page: n passages of d numbers each."""

    scales: bytes
    """float32 [n]"""
    matrix: bytes
    """int8 [n, d]: multiplied by the scales, it gives the vectors."""

    @property
    def chunks(self) -> int:
        return len(self.scales) // 4

    @property
    def small(self) -> npt.NDArray[np.int8]:
        """[n, d]"""
        numbers = len(self.matrix) // max(1, self.chunks)
        return np.frombuffer(self.matrix, np.int8).reshape(self.chunks, numbers)

    @property
    def signs(self) -> bytes:
        """The signs of each passage, padded to whole words."""
        return _signs(self.small).tobytes()


def pack(matrix: Floats) -> Packed:
    """Quantises vectors to 8 bits: similarities are accurate to about 0.002."""
    scales = np.maximum(np.abs(matrix).max(axis=1, initial=0.0), 1e-12) / 127
    small = np.rint(matrix / scales[:, None]).astype(np.int8)
    return Packed(scales.astype(np.float32).tobytes(), small.tobytes())


def unpack(packed: Packed) -> Floats:
    """float32 [n, d]"""
    scales: Floats = np.frombuffer(packed.scales, np.float32)
    return packed.small * scales[:, None]


def _products(small: npt.NDArray[np.int8], scales: Floats, query: Floats) -> Floats:
    """The similarities of packed vectors [n, d] to `query` [d]."""
    products = np.empty(len(small), np.float32)
    for start in range(0, len(small), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        products[here] = np.vecdot(small[here].astype(np.float32), query)
    return products * scales


def _signs(numbers: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The signs [n, bytes] of vectors [n, d], padded to whole words with zeros."""
    bits = np.packbits(numbers > 0, axis=1)
    return np.pad(bits, ((0, 0), (0, -bits.shape[1] % (WORD // 8))))


def _different(ascending: Numbers) -> int:
    return int(np.count_nonzero(np.diff(ascending))) + bool(len(ascending))


class Vectors(ABC):
    """The vectors of one embedding model, in one generation of the index."""

    def __init__(self, model: str, generation: int, pages: Numbers) -> None:
        self.model = model
        self.generation = generation
        self.pages = pages
        """[n]: the page of each passage, ascending; passages in page order."""
        self.mask: npt.NDArray[np.bool_] | None = None
        """[n]: the passages that are included, if not all are."""
        self.count = len(pages)
        """The number of included passages."""
        self.embedded = _different(pages)
        """The number of included pages with vectors."""
        self.far: npt.NDArray[np.uint16] | None = None
        """[n]: all bits set for passages that are not included."""

    def only(self, mask: npt.NDArray[np.bool_]) -> Self:
        """Only these passages, as if there were no others; shares the vectors."""
        part = copy.copy(self)
        part.mask = mask
        part.count = int(np.count_nonzero(mask))
        part.embedded = _different(self.pages[mask])
        part.far = np.where(mask, 0, 0xFFFF).astype(np.uint16)
        return part

    def _there(self, numbers: Iterable[int]) -> Numbers:
        """The included ones of these pages, ascending."""
        wanted = np.unique(np.fromiter(numbers, np.int64))
        if self.mask is None or not len(wanted) or not len(self.pages):
            return wanted
        place = np.minimum(np.searchsorted(self.pages, wanted), len(self.pages) - 1)
        there: Numbers = wanted[(self.pages[place] != wanted) | self.mask[place]]
        return there

    @abstractmethod
    def fits(self, query: Floats) -> bool:
        """Does `query` have the same size? An endpoint's model may have changed."""

    @abstractmethod
    def best(self, query: Floats, limit: int, also: Iterable[int] = ()) -> dict[int, Floats]:
        """The pages with the passages nearest to `query` [d], best first, with the similarity of
        each of their passages, in page order; then the pages `also`, as `of`."""

    @abstractmethod
    def of(self, query: Floats, numbers: Iterable[int]) -> dict[int, Floats]:
        """The same similarities for these pages; pages without embeddings are left out."""


class Exact(Vectors):
    """All vectors in memory."""

    def __init__(
        self,
        model: str,
        generation: int,
        pages: Numbers,
        small: npt.NDArray[np.int8],
        scales: Floats,
    ) -> None:
        super().__init__(model, generation, pages)
        self.small = small
        """[n, d], as in `Packed`"""
        self.scales = scales
        """[n]"""

    def fits(self, query: Floats) -> bool:
        return bool(len(query) == self.small.shape[1])

    def best(self, query: Floats, limit: int, also: Iterable[int] = ()) -> dict[int, Floats]:
        near = _products(self.small, self.scales, query)
        if self.mask is None:
            return _first(self.pages, near, limit, also)
        return _first(self.pages[self.mask], near[self.mask], limit, also)

    def of(self, query: Floats, numbers: Iterable[int]) -> dict[int, Floats]:
        wanted = self._there(numbers)
        starts = np.searchsorted(self.pages, wanted, "left").tolist()
        ends = np.searchsorted(self.pages, wanted, "right").tolist()
        return {
            number: _products(self.small[start:end], self.scales[start:end], query)
            for number, start, end in zip(wanted.tolist(), starts, ends, strict=True)
            if end > start
        }


class Sketch(Vectors):
    """Keeps the signs in memory, and the vectors in the index file."""

    def __init__(
        self, model: str, generation: int, pages: Numbers, signs: Bits, fetch: Fetch
    ) -> None:
        super().__init__(model, generation, pages)
        # Contiguous in memory: strided access takes four times as long.
        self.signs = np.ascontiguousarray(signs)
        """[words, n]"""
        self._fetch = fetch

    def fits(self, query: Floats) -> bool:
        return -(-len(query) // WORD) == len(self.signs)

    def best(self, query: Floats, limit: int, also: Iterable[int] = ()) -> dict[int, Floats]:
        query_signs = _signs(query[None])[0].view(np.uint64)
        differ = np.zeros(len(self.pages), np.uint16)
        for start in range(0, len(differ), BLOCK):
            here = slice(start, start + BLOCK)
            for column, bits in zip(self.signs, query_signs, strict=True):
                differ[here] += np.bitwise_count(column[here] ^ bits)
        if self.far is not None:
            differ |= self.far
        # All passages within the distance of the NEAR nearest: counting is faster than sorting half
        # a million.
        within = np.cumsum(np.bincount(differ, minlength=WORD * len(query_signs) + 1))
        near = np.flatnonzero(differ <= np.searchsorted(within, min(NEAR, self.count)))
        rough = _weighed(np.ascontiguousarray(self.signs[:, near].T).view(np.uint8), query)
        pages = dict.fromkeys(self.pages[near[np.argsort(-rough, kind="stable")]].tolist())
        beside = self._there(also).tolist()
        chosen = {*islice(pages, max(COMPARED, limit)), *beside}
        compared = self._compared(query, sorted(chosen))
        return _first(*compared, limit, beside)

    def of(self, query: Floats, numbers: Iterable[int]) -> dict[int, Floats]:
        wanted = self._there(numbers).tolist()
        return _first(*self._compared(query, wanted), len(wanted))

    def _compared(self, query: Floats, numbers: Sequence[int]) -> tuple[Numbers, Floats]:
        rows = self._fetch(self.model, numbers)
        counts = np.array([len(row[1]) // 4 for row in rows], np.int64)
        pages = np.repeat(np.array([row[0] for row in rows], np.int64), counts)
        scales = np.frombuffer(b"".join(row[1] for row in rows), np.float32)
        small = np.frombuffer(b"".join(row[2] for row in rows), np.int8)
        similarities = _products(small.reshape(-1, len(query)), scales, query)
        order = np.argsort(pages, kind="stable")
        return pages[order], similarities[order]


def _weighed(signs: npt.NDArray[np.uint8], query: Floats) -> Floats:
    """For each row of bits [n, bytes], the sum of the numbers of `query` at set bits."""
    # The possible sums of each byte: 2.5 times as fast as unpacking the bits.
    sums = np.pad(query, (0, 8 * signs.shape[1] - len(query))).reshape(-1, 8) @ BITS.T
    weighed = np.zeros(len(signs), np.float32)
    for at, sums_of_byte in enumerate(sums):
        weighed += sums_of_byte[signs[:, at]]
    return weighed


def _first(
    pages: Numbers, similarities: Floats, limit: int, also: Iterable[int] = ()
) -> dict[int, Floats]:
    """The pages with the nearest passages, and the similarities of all their passages.

    Args:
        pages: the page of each passage, ascending.
        similarities: the similarity of each passage.
        limit: the maximum number of pages.
        also: further pages, if they have passages.
    """
    if not len(pages):
        return {}
    starts = np.flatnonzero(np.diff(pages, prepend=-1))
    ends = np.append(starts[1:], len(pages))
    best = np.maximum.reduceat(similarities, starts)
    order = np.argsort(-best, kind="stable")[:limit]
    further = np.flatnonzero(np.isin(pages[starts], np.fromiter(also, np.int64)))
    return {
        int(pages[starts[n]]): similarities[starts[n] : ends[n]]
        for n in np.concatenate((order, further)).tolist()
    }


def load(
    db: sqlite3.Connection,
    model: str,
    generation: int,
    numbers: npt.NDArray[np.uint32],
    before: Vectors | None,
    fetch: Fetch,
) -> Vectors | None:
    """Loads the vectors of the model in use; None if there are none.

    Args:
        db: an index in a transaction of that generation.
        model: the model in use.
        numbers: all pages.
        before: vectors of an older generation of the same file; only changes since are read.
        fetch: reads vectors for a `Sketch`.
    """
    if before is not None and before.model == model:
        loaded = _loaded(db, generation, numbers, before, fetch)
        if not (isinstance(loaded, Exact) and len(loaded.pages) > EXACT):
            return loaded if len(loaded.pages) else None
    (count,) = db.execute("SELECT sum(chunks) FROM signs WHERE model = ?", (model,)).fetchone()
    if not count:
        return None
    none = np.zeros(0, np.int64)
    empty: Vectors = (
        Exact(model, -1, none, np.zeros((0, 0), np.int8), np.zeros(0, np.float32))
        if count <= EXACT
        else Sketch(model, -1, none, np.zeros((0, 0), np.uint64), fetch)
    )
    return _loaded(db, generation, numbers, empty, fetch)


def _loaded(
    db: sqlite3.Connection,
    generation: int,
    numbers: npt.NDArray[np.uint32],
    before: Vectors,
    fetch: Fetch,
) -> Vectors:
    """Updates `before` with vectors written since, and removes deleted pages."""
    since = (before.model, before.generation)
    if isinstance(before, Exact):
        changed_rows = db.execute(
            "SELECT page, scales, matrix FROM vectors WHERE model = ? AND generation > ?"
            " ORDER BY page",
            since,
        ).fetchall()
        read = [Packed(*packed) for _, *packed in changed_rows]
        parts: list[Any] = [packed.small for packed in read]
    else:
        changed_rows = db.execute(
            "SELECT page, chunks, bits FROM signs WHERE model = ? AND generation > ? ORDER BY page",
            since,
        ).fetchall()
        parts = [
            np.frombuffer(bits, np.uint64).reshape(chunks, -1) for _, chunks, bits in changed_rows
        ]
    changed = np.array([row[0] for row in changed_rows], np.int64)
    added = np.repeat(changed, np.array([len(part) for part in parts], np.int64))
    stay = np.isin(before.pages, numbers) & ~np.isin(before.pages, changed)
    pages = np.concatenate((before.pages[stay], added))
    order = np.argsort(pages, kind="stable")
    if isinstance(before, Exact):
        old = [before.small[stay]] if len(before.small) else []
        small = np.concatenate([*old, *parts]) if old or parts else before.small
        of_read = [np.frombuffer(packed.scales, np.float32) for packed in read]
        scales = np.concatenate([before.scales[stay], *of_read])
        return Exact(before.model, generation, pages[order], small[order], scales[order])
    assert isinstance(before, Sketch)
    staying = [before.signs[:, stay]] if len(before.signs) else []
    joined = [*staying, *(part.T for part in parts)]
    signs = np.concatenate(joined, axis=1) if joined else before.signs
    return Sketch(before.model, generation, pages[order], signs[:, order], fetch)
