"""How often the page that answers a question is found: recall@k and MRR.

    python -m research.studies.retrieval --docs DIR --questions qa_pairs.jsonl \\
        [--split test]

Each line of the questions is an object with `question`, and `context_doc` or `context_docs` (paths
of gold pages) or `answerable: false`; `split` is optional. Unanswerable questions are skipped. The
search is compared with SQLite's full-text search.
`--keep FILE` keeps the index, whose vectors take a while, for the next run.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from core.errors import AskdocsError
from eval.statistics import paired
from wiki.index import embed, index
from wiki.index.embed import Embedder
from wiki.index.index import Index
from wiki.index.missing import embed_missing
from wiki.pages.words import content_words
from wiki.search.search import Search
from wiki.sources import folder

RANKS = (1, 3, 5, 10)
RESAMPLES = 2000
BASELINE, USED = "FTS5", "words and meaning"

Rank = Callable[[str], list[int]]
"""The numbers of the best pages for a question, best first."""


class Share(NamedTuple):
    """A mean over questions with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Retrieval:
    """Measurements of a ranking."""

    name: str
    recall: dict[int, Share]
    """By rank k: the share of questions with a gold page among the first k."""
    mrr: Share
    milliseconds: float
    """Median time of a search, without embedding the question."""
    slow: float
    """99th percentile of the same."""


@dataclass(frozen=True)
class Report:
    """Measurements on a wiki."""

    questions: int
    pages: int
    index_bytes: int
    embedding: float | None
    """Median milliseconds for embedding a question; None without a model."""
    rankers: list[Retrieval]


def measure(
    file: Path,
    rows: Sequence[dict[str, Any]],
    embedder: Embedder | None,
) -> Report:
    """Search for every answerable question.

    Args:
        file: an index file, with all vectors if there is an embedder.
        rows: the questions.
        embedder: None skips rankings that need vectors.
    """
    rows = [row for row in rows if row.get("answerable", True)]
    embedding = []
    with closing(Index(file)) as opened, closing(sqlite3.connect(":memory:")) as plain:
        names = {
            number: PurePosixPath(opened.page(number).path).stem for number in opened.numbers()
        }
        search = Search(opened, embedder)
        ways: dict[str, Rank] = {
            BASELINE: _fts5(plain, opened),
            USED: lambda question: [number for number, _ in _ranked(search, question)],
        }
        places: dict[str, list[float]] = {name: [] for name in ways}
        took: dict[str, list[float]] = {name: [] for name in ways}
        for row in rows:
            gold = {PurePosixPath(path).stem for path in _gold(row)}
            if embedder:
                # It caches the last embeddings, so that the timings below cover only the search.
                began = time.perf_counter()
                embedder.embed([row["question"]])
                embedding.append(1000 * (time.perf_counter() - began))
            for name, rank in ways.items():
                began = time.perf_counter()
                numbers = rank(row["question"])
                took[name].append(1000 * (time.perf_counter() - began))
                places[name].append(
                    next((at for at, number in enumerate(numbers) if names[number] in gold), np.inf)
                )
    return Report(
        questions=len(rows),
        pages=len(names),
        index_bytes=file.stat().st_size,
        embedding=float(np.median(embedding)) if embedding else None,
        rankers=[_summed(name, places[name], took[name]) for name in ways],
    )


def _ranked(search: Search, question: str) -> list[tuple[int, float]]:
    sought, embedder = search.sought(question), search.embedder
    return search.ranked(sought, embedder.ask(sought.text) if embedder else None)


def _fts5(db: sqlite3.Connection, index: Index) -> Rank:
    """SQLite's full-text search with BM25 over title, headings and body, as used by many wikis."""
    db.execute(
        "CREATE VIRTUAL TABLE page USING fts5 (title, headings, body,"
        " tokenize='porter unicode61 remove_diacritics 2')"
    )
    pages = ((number, index.page(number)) for number in index.numbers())
    db.executemany(
        "INSERT INTO page (rowid, title, headings, body) VALUES (?, ?, ?, ?)",
        (
            (number, page.title, "\n".join(section.heading for section in page.sections), page.text)
            for number, page in pages
        ),
    )

    def rank(question: str) -> list[int]:
        terms = sorted(set(content_words(question)))
        if not terms:
            return []
        rows = db.execute(
            "SELECT rowid FROM page WHERE page MATCH ?"
            " ORDER BY bm25(page, 6, 2, 1), rowid LIMIT 50",
            (" OR ".join(f'"{term}"' for term in terms),),
        )
        return [number for (number,) in rows]

    return rank


def _summed(name: str, places: list[float], took: list[float]) -> Retrieval:
    ranks = np.array(places)
    return Retrieval(
        name=name,
        recall={k: share(ranks < k) for k in RANKS},
        mrr=share(1 / (ranks + 1)),
        milliseconds=float(np.median(took)) if took else 0.0,
        slow=float(np.percentile(took, 99)) if took else 0.0,
    )


def share(values: npt.ArrayLike) -> Share:
    """The mean of `values`.

    The interval is Wilson's for booleans, which has a width even if all are the same, else a
    percentile bootstrap.
    """
    known = np.asarray(values)
    if not len(known):
        return Share(float("nan"), float("nan"), float("nan"))
    if known.dtype == bool:
        value, low, high, _ = paired.share(known.tolist())
        return Share(value, low, high)
    chosen = np.random.default_rng(0).integers(0, len(known), (RESAMPLES, len(known)))
    low, high = np.percentile(known[chosen].mean(axis=1), (2.5, 97.5))
    return Share(float(known.mean()), float(low), float(high))


def prepare(docs: Path, file: Path, embedder: Embedder | None) -> None:
    """Create or update the index of a folder. Raises AskdocsError as `folder.read`."""
    index.build(file, folder.read(docs, "http://wiki/").pages)
    if embedder:

        def progress(done: int, total: int) -> None:
            if done == total or not done % 50:
                print(f"vectors of {done:,} of {total:,} pages", file=sys.stderr)

        embed_missing(partial(index.writing, file), embedder, progress)


def read(file: Path, split: str | None) -> Iterator[dict[str, Any]]:
    """The rows, or those of one split. Raises AskdocsError with file and line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AskdocsError(f"{file}: cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            known = isinstance(row["question"], str) and (
                row.get("answerable", True) is False or bool(_gold(row))
            )
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise AskdocsError(
                f"{file}:{number}: is not a JSON object with question and context_doc"
                " (or answerable: false)"
            )
        if split is None or row.get("split") == split:
            yield row


def _gold(row: dict[str, Any]) -> list[str]:
    return row.get("context_docs") or [row["context_doc"]]


def table(report: Report) -> Iterator[str]:
    """The report as a Markdown table."""
    yield "| way | recall@1 | @3 | @5 | @10 | MRR | ms, median / p99 |"
    yield "|---|---|---|---|---|---|---|"
    for ranker in report.rankers:
        cells = [_cell(ranker.recall[k]) for k in RANKS]
        yield (
            f"| {ranker.name} | {' | '.join(cells)} | {_cell(ranker.mrr)}"
            f" | {ranker.milliseconds:.1f} / {ranker.slow:.1f} |"
        )


def _cell(estimate: Share) -> str:
    value, low, high = (f"{part:.3f}".removeprefix("0") for part in estimate)
    return f"{value} ({low}-{high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--source", help="only rows whose field `source` is this")
    parser.add_argument("--words-only", action="store_true", help="as without the model")
    parser.add_argument("--keep", type=Path, help="file of the index, kept for the next run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        rows = [
            row
            for row in read(options.questions, options.split)
            if options.source is None or row.get("source") == options.source
        ]
        embedder = None if options.words_only else embed.load()
        with tempfile.TemporaryDirectory() as place:
            file = options.keep or Path(place) / "index.db"
            prepare(options.docs, file, embedder)
            report = measure(file, rows, embedder)
    except AskdocsError as error:
        sys.exit(f"retrieval: {error}")
    if options.json:
        print(json.dumps(asdict(report), indent=2))
        return
    print("\n".join(table(report)))
    print(
        f"\n{report.questions:,} questions, {report.pages:,} pages, index"
        f" {report.index_bytes / 2**20:.1f} MiB"
        + (f", embedding a question {report.embedding:.0f} ms" if report.embedding else "")
    )


if __name__ == "__main__":
    main()
