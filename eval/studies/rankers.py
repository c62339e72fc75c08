"""Compares ways of ranking an index's pages: the current one, its parts, and rejected ones."""

import sqlite3
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.knowledge.search.asked import asked
from gateway.knowledge.search.embed import Embedder
from gateway.knowledge.search.fit import Fit
from gateway.knowledge.search.index import WEIGHTING, Index
from gateway.knowledge.search.postings import Weighting
from gateway.knowledge.search.search import CANDIDATES, NEAREST, Search, nearest_each
from gateway.knowledge.search.vectors import Floats
from gateway.knowledge.wiki.words import content_words, stem

Ranks = list[tuple[int, float]]
# Numbers of the best pages for a question, best first.
Rank = Callable[[str], list[int]]
USED = "words and meaning"
BASELINE = "FTS5"


@dataclass(frozen=True)
class Ranker:
    """A way of ranking."""

    name: str
    rank: Rank


def fts5(index: Index, weights: Sequence[float] = (6.0, 2.0, 1.0)) -> Rank:
    """SQLite's full-text search with BM25 over title, headings and body, as used by many wikis."""
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute(
        "CREATE VIRTUAL TABLE page USING fts5 (title, headings, body,"
        " tokenize='porter unicode61 remove_diacritics 2')"
    )
    with db:
        for number in index.numbers():
            page = index.page(number)
            headings = "\n".join(section.heading for section in page.sections)
            db.execute(
                "INSERT INTO page (rowid, title, headings, body) VALUES (?, ?, ?, ?)",
                (number, page.title, headings, page.text),
            )

    def rank(question: str) -> list[int]:
        terms = sorted(set(content_words(question)))
        if not terms:
            return []
        rows = db.execute(
            "SELECT rowid FROM page WHERE page MATCH ?"
            " ORDER BY bm25(page, ?, ?, ?), rowid LIMIT 50",
            (" OR ".join(f'"{term}"' for term in terms), *weights),
        )
        return [number for (number,) in rows]

    weakref.finalize(rank, db.close)
    return rank


def rankers(index: Index, embedder: Embedder | None, *, variants: bool) -> list[Ranker]:
    """The baseline and the current ranking; with `variants` also its parts and rejected rankings.

    Args:
        index: an index with the vectors of all pages.
        embedder: None skips rankings that need vectors.
        variants: include the variants.
    """
    search = Search(index, embedder)
    listed = [Ranker(BASELINE, fts5(index)), Ranker(USED, _numbers(_by(search)))]
    if not variants:
        return listed
    words = Search(index, None)
    only = _by(words)
    listed += [
        Ranker("FTS5, title and text alike", fts5(index, (1.0, 1.0, 1.0))),
        Ranker("words only", _numbers(only)),
        *(
            Ranker(f"words only, k1 {k1}, b {b}", _numbers(_bm25(index, k1, b)))
            for k1, b in ((1.2, 0.75), (1.2, 0.5), (3.5, 0.5), (3.5, 0.75))
        ),
        Ranker("words only, each once", _numbers(_bm25(index, *WEIGHTING[3:], once=True))),
        Ranker("words only, spelling as it is", _numbers(_bm25(index, *WEIGHTING[3:]))),
    ]
    if embedder is None:
        return listed
    meaning = _meaning(index, embedder, NEAREST)
    first = _meaning(index, embedder, np.array([1, 0, 0], np.float32))
    title = _meaning(index, embedder, NEAREST, title_only=True)
    return [
        *listed,
        Ranker("meaning only", _numbers(meaning)),
        Ranker("meaning only, the nearest passage", _numbers(first)),
        Ranker("meaning only, of the first line", _numbers(title)),
        *(
            Ranker(f"share of the words x {weight}", _numbers(_sum(only, meaning, weight)))
            for weight in (0.25, 0.5, 1.0, 1.5)
        ),
        Ranker("reciprocal ranks (k 60)", _numbers(_reciprocal(only, meaning, 60))),
        Ranker("reciprocal ranks (k 10)", _numbers(_reciprocal(only, meaning, 10))),
        Ranker("z-scores, 0.5 words", _numbers(_z(only, meaning, 0.5))),
        Ranker("z-scores, as much words", _numbers(_z(only, meaning, 1.0))),
    ]


Scored = Callable[[str], Ranks]


def _numbers(scored: Scored) -> Rank:
    return lambda question: [number for number, _ in scored(question)]


def _by(search: Search) -> Scored:
    def scored(question: str) -> Ranks:
        sought = search.sought(question)
        embedder = search.embedder
        return search.ranked(sought, embedder.ask(sought.text) if embedder else None)

    return scored


def _bm25(index: Index, k1: float, b: float, *, once: bool = False) -> Scored:
    weighting = Weighting(*WEIGHTING[:3], k1=k1, b=b)

    def scored(question: str) -> Ranks:
        words = asked(question).words
        if once:
            words = {stem(word): 1.0 for word in content_words(question)}
        return index.match(words, CANDIDATES, weighting)

    return scored


def _meaning(
    index: Index, embedder: Embedder, nearest: Floats, *, title_only: bool = False
) -> Scored:
    def scored(question: str) -> Ranks:
        vectors = index.vectors()
        if vectors is None:
            return []
        text = question.strip().partition("\n")[0] if title_only else question
        near_by_page = vectors.best(embedder.ask(text), CANDIDATES)
        return _best(nearest_each(near_by_page, nearest))

    return scored


def _sum(words: Scored, meaning: Scored, weight: float) -> Scored:
    """`words` contains shares of the question's words."""

    def scored(question: str) -> Ranks:
        by_words, by_meaning = dict(words(question)), dict(meaning(question))
        return _best(
            {
                n: weight / Fit().lexical * by_words.get(n, 0.0) + by_meaning.get(n, 0.0)
                for n in dict.fromkeys([*by_words, *by_meaning])
            }
        )

    return scored


def _reciprocal(words: Scored, meaning: Scored, k: int) -> Scored:
    def scored(question: str) -> Ranks:
        total: dict[int, float] = {}
        for ranks in (words(question), meaning(question)):
            for place, (number, _) in enumerate(ranks, start=1):
                total[number] = total.get(number, 0.0) + 1 / (k + place)
        return _best(total)

    return scored


def _z(words: Scored, meaning: Scored, weight: float) -> Scored:
    def scored(question: str) -> Ranks:
        by_words, by_meaning = dict(words(question)), dict(meaning(question))
        numbers = list(dict.fromkeys([*by_words, *by_meaning]))
        total = np.zeros(len(numbers))
        for share, scores in ((weight, by_words), (1.0, by_meaning)):
            values = np.array([scores.get(number, 0.0) for number in numbers])
            total += share * (values - values.mean()) / (values.std() + 1e-9)
        return _best(dict(zip(numbers, total.tolist(), strict=True)))

    return scored


def _best(scores: dict[int, float]) -> Ranks:
    return sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))
