"""How well the pages that the search found are sorted again: nDCG@5 and recall@1, of many ways.

    python -m eval.studies.reranking --docs DIR --questions qa_pairs.jsonl [--split validation]

The first 20 pages for each question are sorted by what a reranker has: the question and the texts.
Questions and `--keep` are those of `eval.studies.retrieval`. nDCG as in Järvelin and Kekäläinen,
2002, https://doi.org/10.1145/582415.582418, a page being relevant or not.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from eval.studies.retrieval import Share, prepare, read, share
from gateway.core.errors import AskdocsError
from gateway.knowledge.search import embed, index
from gateway.knowledge.search.embed import Onnx, Vectors, unit
from gateway.knowledge.search.relevance import LEXICAL, Text, relevance, shares, spans
from gateway.knowledge.search.search import Search

Scores = npt.NDArray[np.float64]

FOUND = 20
TOP = 5


class Seen(NamedTuple):
    """A text as the model has read it."""

    text: str
    tokens: Vectors
    """Of each token, [n, 384], each of length 1."""
    means: Vectors
    """Of each window of 256 tokens, [n, 384], each of length 1."""
    vector: Vectors
    """As `/v1/embeddings` gives it."""
    spans: Vectors


Way = Callable[[Seen, Sequence[Seen]], Sequence[float]]
"""Scores of texts for a question."""


class Sorted(NamedTuple):
    """What was measured of one way."""

    name: str
    ndcg: Share
    first: Share
    """Is the first page one that answers?"""
    milliseconds: float
    """A question, the median, the texts having been read before."""


def seen(embedder: Onnx, text: str) -> Seen:
    windows = [embedder.read(window) for window in embedder.windows(text)]
    tokens = unit(np.concatenate([window[1:-1] for window in windows]))
    means = unit(np.stack([window.mean(axis=0) for window in windows]))
    vector = unit(np.average(means, axis=0, weights=[len(window) for window in windows]))
    return Seen(text, tokens, means, vector, spans(windows))


def as_found(_: Seen, texts: Sequence[Seen]) -> Sequence[float]:
    return [-float(place) for place in range(len(texts))]


def window(question: Seen, texts: Sequence[Seen]) -> Sequence[float]:
    """The cosine of the nearest piece of 256 tokens."""
    return [float((text.means @ question.vector).max()) for text in texts]


def late(question: Seen, texts: Sequence[Seen]) -> Sequence[float]:
    """ColBERT's MaxSim with this model's tokens: https://arxiv.org/abs/2004.12832"""
    tokens = question.tokens
    return [float((text.tokens @ tokens.T).max(axis=0).mean()) for text in texts]


def words(question: Seen, texts: Sequence[Seen]) -> Sequence[float]:
    return shares(question.text, [text.text for text in texts])


def used(question: Seen, texts: Sequence[Seen], lexical: float = LEXICAL) -> Sequence[float]:
    """What `/v1/rerank` does."""
    given = [Text(text.text, text.spans) for text in texts]
    return relevance(question.text, question.vector, given, lexical)


def _weighed(lexical: float) -> Way:
    return lambda question, texts: used(question, texts, lexical)


WAYS: dict[str, Way] = {
    "as the search found them": as_found,
    "nearest window of 256 tokens": window,
    "nearest spans": _weighed(0),
    "MaxSim of tokens": late,
    "BM25 among the 20": words,
    "nearest spans + 0.5 BM25 (used)": used,
    "nearest spans + 1.0 BM25": _weighed(1),
}
# The sum of the z-scores of these three.
FUSED = "window, MaxSim and BM25, z-scores"
PARTS = ("nearest window of 256 tokens", "MaxSim of tokens", "BM25 among the 20")


def measure(file: Path, rows: Sequence[dict[str, Any]], embedder: Onnx) -> list[Sorted]:
    """Sort the pages for every question that has an answer; `file` is an index with vectors."""
    names = (*WAYS, FUSED)
    gains, took = ({name: list[float]() for name in names} for _ in range(2))
    firsts = {name: list[bool]() for name in names}
    known: dict[str, Seen] = {}
    with closing(index.Index(file)) as opened:
        search = Search(opened, embedder)
        for number, row in enumerate(rows):
            if number % 25 == 0:
                print(f"{number:,} of {len(rows):,} questions", file=sys.stderr)
            gold = {PurePosixPath(path).stem for path in row.get("context_docs") or ()}
            gold = gold or {PurePosixPath(row["context_doc"]).stem}
            pages = [hit.page for hit in search.find(row["question"], limit=FOUND)]
            for page in pages:
                if page.path not in known:
                    known[page.path] = seen(embedder, page.text)
            texts = [known[page.path] for page in pages]
            question = seen(embedder, row["question"])
            scores = {}
            for name, way in WAYS.items():
                began = time.perf_counter()
                scores[name] = np.array(way(question, texts))
                took[name].append(1000 * (time.perf_counter() - began))
            scores[FUSED] = np.sum([_z(scores[name]) for name in PARTS], axis=0)
            took[FUSED].append(sum(took[name][-1] for name in PARTS))
            for name in names:
                order = np.argsort(-scores[name], kind="stable")
                right = [PurePosixPath(pages[place].path).stem in gold for place in order]
                gains[name].append(ndcg(right, len(gold)))
                firsts[name].append(any(right[:1]))
    return [
        Sorted(name, share(gains[name]), share(firsts[name]), float(np.median(took[name])))
        for name in names
    ]


def _z(scores: Scores) -> Scores:
    result: Scores = (scores - scores.mean()) / (scores.std() + 1e-9)
    return result


def ndcg(right: Sequence[bool], relevant: int, top: int = TOP) -> float:
    """Of texts of which `right` says whether they are relevant; there are `relevant` in all."""
    worth = 1 / np.log2(np.arange(2, top + 2))
    gained = sum(gain for gain, hit in zip(worth, right, strict=False) if hit)
    return float(gained / worth[:relevant].sum())


def table(measured: Sequence[Sorted]) -> Iterator[str]:
    """As lines of Markdown."""
    yield "| way | nDCG@5 | recall@1 | ms |"
    yield "|---|---|---|---|"
    for row in measured:
        cells = [f"{s.value:.3f} ({s.low:.3f}-{s.high:.3f})" for s in (row.ndcg, row.first)]
        shown = " | ".join(cells).replace("0.", ".")
        yield f"| {row.name} | {shown} | {row.milliseconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--source", help="only rows whose field `source` is this")
    parser.add_argument("--keep", type=Path, help="file of the index, kept for the next run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        rows = [
            row
            for row in read(options.questions, options.split)
            if row.get("answerable", True)
            and (options.source is None or row.get("source") == options.source)
        ]
        if (embedder := embed.load()) is None:
            raise AskdocsError("the embedding model is not installed: run make setup")
        with tempfile.TemporaryDirectory() as place:
            file = options.keep or Path(place) / "index.db"
            prepare(options.docs, file, embedder)
            measured = measure(file, rows, embedder)
    except AskdocsError as error:
        sys.exit(f"reranking: {error}")
    if options.json:
        print(json.dumps([row._asdict() for row in measured], indent=2))
        return
    print("\n".join(table(measured)))
    print(f"\n{len(rows):,} questions")


if __name__ == "__main__":
    main()
