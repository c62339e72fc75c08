"""How PostgreSQL's own full text ranks the pages for a question, beside the index of the gateway.

    python -m eval.studies.fulltext --docs DIR --questions FILE.jsonl [--split test] --database postgresql://...
    python -m eval.studies.fulltext --docs DIR --pages 100000 --database postgresql://...

The first form measures recall; the second, with generated pages (eval.studies.scale), latency. The
table `pages` is made in the database, which must be an empty one. Title, headings and text have the
weights A, B and D; the words of the question are joined by "or", because few pages have them all.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path, PurePosixPath

import numpy as np
import psycopg

from eval.studies import retrieval
from eval.studies.scale import Maker, questions
from gateway.core.errors import AskdocsError
from gateway.knowledge.search import index
from gateway.knowledge.search.index import Index
from gateway.knowledge.sources import folder
from gateway.knowledge.wiki.page import Page
from gateway.knowledge.wiki.words import content_words

RANKS = (1, 5)
QUESTIONS = 100
_INSERT = """
INSERT INTO pages VALUES (%s, setweight(to_tsvector('english', %s), 'A')
    || setweight(to_tsvector('english', %s), 'B') || setweight(to_tsvector('english', %s), 'D'))
"""
_SEARCH = """
SELECT path FROM pages, to_tsquery('english', %s) AS asked WHERE words @@ asked
ORDER BY {rank}(words, asked, {length}) DESC, path LIMIT 10
"""
# ts_rank_cd and ts_rank; 0 leaves the length of a page aside, 1 divides by 1 + log(length).
RANKINGS = {
    f"{rank}, normalization {length}": _SEARCH.format(rank=rank, length=length)
    for rank in ("ts_rank_cd", "ts_rank")
    for length in (0, 1)
}


def fill(db: psycopg.Connection, pages: Iterable[Page]) -> None:
    db.execute("CREATE TABLE pages (path text PRIMARY KEY, words tsvector)")
    for page in pages:
        headings = "\n".join(section.heading for section in page.sections)
        # A tsvector holds a megabyte at most.
        db.execute(_INSERT, (page.path, page.title, headings, page.text[:500_000]))
    db.execute("CREATE INDEX ON pages USING gin (words)")
    db.execute("ANALYZE pages")


def search(db: psycopg.Connection, ranking: str, question: str) -> list[str]:
    """The paths of the pages, best first."""
    terms = " | ".join(sorted(set(content_words(question)))) or "nothing"
    return [path for (path,) in db.execute(RANKINGS[ranking].encode(), (terms,))]


def recall(db: psycopg.Connection, docs: Path, file: Path, split: str | None) -> None:
    pages = folder.read(docs, "http://wiki/").pages
    fill(db, pages)
    rows = [row for row in retrieval.read(file, split) if row.get("answerable", True)]
    by_ranking = {name: [search(db, name, row["question"]) for row in rows] for name in RANKINGS}
    with tempfile.TemporaryDirectory() as place:
        index.build(Path(place) / "index.db", pages)
        with closing(Index(Path(place) / "index.db")) as own:
            by_ranking["BM25 of the index"] = [
                [own.page(n).path for n, _ in own.match(content_words(row["question"]), 10)]
                for row in rows
            ]
    gold = [
        {PurePosixPath(path).stem for path in row.get("context_docs") or [row["context_doc"]]}
        for row in rows
    ]
    for name, results in by_ranking.items():
        shares = [
            np.mean(
                [
                    any(PurePosixPath(path).stem in right for path in paths[:rank])
                    for paths, right in zip(results, gold, strict=True)
                ]
            )
            for rank in RANKS
        ]
        print(f"{name:32}" + "  ".join(f"@{k} {s:.3f}" for k, s in zip(RANKS, shares, strict=True)))


def latency(db: psycopg.Connection, docs: Path, count: int) -> None:
    maker = Maker(folder.read(docs, "http://wiki/").pages)
    began = time.monotonic()
    fill(db, maker.pages(count))
    print(f"{count} pages written in {time.monotonic() - began:.0f} s, with generating them")
    drawn = questions([maker.page(n) for n in range(0, count, count // 200)], QUESTIONS)
    for name in RANKINGS:
        took = []
        for question in drawn:
            began = time.perf_counter()
            search(db, name, question)
            took.append(1000 * (time.perf_counter() - began))
        print(
            f"{name:32}p50 {np.percentile(took, 50):.0f} ms  p99 {np.percentile(took, 99):.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--database", required=True)
    options = parser.parse_args()
    try:
        with psycopg.connect(options.database) as db:
            if options.questions:
                recall(db, options.docs, options.questions, options.split)
            else:
                latency(db, options.docs, options.pages)
    except (AskdocsError, psycopg.Error) as error:
        sys.exit(f"fulltext: {error}")


if __name__ == "__main__":
    main()
