"""The inverted index of passages: which words occur in which passages.

`postings` finds pages; of the best of them it is compared here which share of a question's words
each passage has. A word is stored as a number of 32 bits, so that a page takes some 2 kB, and
50 pages are compared in less than a millisecond.
"""

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.knowledge.search.passages import passage_stems
from gateway.knowledge.search.vectors import Floats
from gateway.knowledge.wiki.page import Page

SCHEMA = """
CREATE TABLE said (page INTEGER PRIMARY KEY, counts BLOB NOT NULL, words BLOB NOT NULL);
"""
# SQLite takes 32,766 values at most.
AT_ONCE = 1000


def add(db: sqlite3.Connection, number: int, page: Page) -> None:
    """Store the words of a page's passages."""
    of_passages = [sorted(map(_number, words)) for words in passage_stems(page)]
    counts = np.array([min(len(words), 65535) for words in of_passages], np.uint16)
    every = [word for words in of_passages for word in words[:65535]]
    db.execute(
        "INSERT INTO said VALUES (?, ?, ?)",
        (number, counts.tobytes(), np.array(every, np.uint32).tobytes()),
    )


def remove(db: sqlite3.Connection, number: int) -> None:
    """Forget the words of a page."""
    db.execute("DELETE FROM said WHERE page = ?", (number,))


class Sums(NamedTuple):
    """Of each passage of a page, in its order."""

    weights: Floats
    """Of the words that it has, added up."""
    words: Floats
    """How many different words it has."""


def sums(
    db: sqlite3.Connection, numbers: Sequence[int], weights: Mapping[str, float]
) -> dict[int, Sums]:
    """Which of the words the passages of these pages have.

    Args:
        db: an index.
        numbers: of the pages.
        weights: of stems.
    """
    rows: list[tuple[int, bytes, bytes]] = []
    for start in range(0, len(numbers), AT_ONCE):
        some = numbers[start : start + AT_ONCE]
        places = ", ".join("?" * len(some))
        rows += db.execute(
            f"SELECT page, counts, words FROM said WHERE page IN ({places})",  # noqa: S608
            some,
        )
    if not rows:
        return {}
    counts = np.frombuffer(b"".join(row[1] for row in rows), np.uint16)
    ends = np.cumsum([len(row[1]) // 2 for row in rows])
    sizes = np.split(counts.astype(np.float32), ends[:-1])
    if not weights:
        return {
            row[0]: Sums(np.zeros(len(size), np.float32), size)
            for row, size in zip(rows, sizes, strict=True)
        }
    words = np.frombuffer(b"".join(row[2] for row in rows), np.uint32)
    wanted = sorted((_number(stem), weight) for stem, weight in weights.items())
    known = np.array([number for number, _ in wanted], np.uint32)
    worth = np.array([weight for _, weight in wanted], np.float64)
    place = np.minimum(np.searchsorted(known, words), len(known) - 1)
    here: npt.NDArray[np.bool_] = known[place] == words
    passage = np.repeat(np.arange(len(counts)), counts)
    total = np.bincount(passage[here], worth[place[here]], minlength=len(counts))
    parts = np.split(total.astype(np.float32), ends[:-1])
    return {row[0]: Sums(*both) for row, *both in zip(rows, parts, sizes, strict=True)}


def _number(stem: str) -> int:
    return zlib.crc32(stem.encode("utf-8", "replace"))
