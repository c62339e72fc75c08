"""The inverted index of passages: which words occur in which passages.

`postings` finds pages; this index compares the share of a question's words in each passage of the
best pages. A word is stored as a 32-bit number, so that a page takes some 2 kB, and 50 pages are
compared in less than a millisecond.
"""

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from wiki.index.passages import passage_stems
from wiki.index.vectors import Floats
from wiki.pages.page import Page

SCHEMA = """
CREATE TABLE said (page INTEGER PRIMARY KEY, counts BLOB NOT NULL, words BLOB NOT NULL);
"""
# SQLite accepts at most 32,766 values.
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
    """Delete the words of a page."""
    db.execute("DELETE FROM said WHERE page = ?", (number,))


class Sums(NamedTuple):
    """Sums for each passage of a page, in page order."""

    weights: Floats
    """The total weights of its words: [readings of the question, passages]."""
    words: Floats
    """The number of its distinct words."""


def sums(
    db: sqlite3.Connection, numbers: Sequence[int], readings: Sequence[Mapping[str, float]]
) -> dict[int, Sums]:
    """Finds which of the words the passages of these pages contain.

    Args:
        db: an index.
        numbers: the pages.
        readings: readings of one question, as weights of stems.
    """
    rows: list[tuple[int, bytes, bytes]] = []
    for start in range(0, len(numbers), AT_ONCE):
        some = numbers[start : start + AT_ONCE]
        places = ", ".join("?" * len(some))
        rows += db.execute(
            f"SELECT page, counts, words FROM said WHERE page IN ({places})",  # noqa: S608
            some,
        )
    counts = np.frombuffer(b"".join(row[1] for row in rows), np.uint16)
    words = np.frombuffer(b"".join(row[2] for row in rows), np.uint32)
    known = np.array(sorted({_number(stem) for stem in set().union(*readings)}), np.uint32)
    totals = np.zeros((len(readings), len(counts)), np.float32)
    if len(known) and len(words):
        place = np.minimum(np.searchsorted(known, words), len(known) - 1)
        here = np.flatnonzero(known[place] == words)
        place, passage = place[here], np.repeat(np.arange(len(counts)), counts)[here]
        at = {number: n for n, number in enumerate(known.tolist())}
        for total, weights in zip(totals, readings, strict=True):
            worth = np.zeros(len(known))
            for stem, weight in weights.items():
                worth[at[_number(stem)]] = weight
            total[:] = np.bincount(passage, worth[place], minlength=len(counts))
    sizes = counts.astype(np.float32)
    result = {}
    start = 0
    for number, of_passages, _ in rows:
        end = start + len(of_passages) // 2
        result[number] = Sums(totals[:, start:end], sizes[start:end])
        start = end
    return result


def _number(stem: str) -> int:
    return zlib.crc32(stem.encode("utf-8", "replace"))
