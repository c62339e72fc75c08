"""What answered questions add to finding the page, and what they cost pages without any.

    python -m eval.studies.memory --docs DIR --questions qa_pairs.jsonl --split test [--keep FILE]

The rows of the split `train`, or of the splits in `--learn`, are learned as by `askdocs docs
learn`; the answerable rows of `--split` are asked. `created` (a date) is optional, `--keep FILE`
keeps the index with all vectors for the next run, `--sweep` also tries other weights than the
fitted one.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.studies.retrieval import prepare, read, share
from gateway.core.errors import AskdocsError
from gateway.knowledge.search import embed, index, memory
from gateway.knowledge.search.answered import MemoryMatch, Paths
from gateway.knowledge.search.calibration import WEIGHTS, Calibration, calibrate
from gateway.knowledge.search.embed import Embedder
from gateway.knowledge.search.learn import learn, question_id
from gateway.knowledge.search.memory import Votes, combine
from gateway.knowledge.search.rows import StoredAnswer
from gateway.knowledge.search.search import Search
from gateway.knowledge.search.vectors import Floats

RANKS = (1, 3, 5, 10)
# Random subsets of the answers, and how often each is drawn.
SIZES = (50, 100, 200, 400, 1000)
DRAWS = 3

Ranked = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Case:
    """A question to ask, with data independent of the memory."""

    vector: Floats
    text: Ranked
    """Pages ranked by their text alone."""
    gold: frozenset[int]
    created: str


@dataclass(frozen=True)
class StoredAnswers:
    """The stored answers, and the questions to ask."""

    answers: Sequence[StoredAnswer]
    numbers: dict[str, int]
    created: dict[str, str]
    """When each answer's question was asked, by the answer's id; empty if unknown."""
    model: str
    rank: Callable[[str, Floats], Ranked]
    cases: Sequence[Case]

    def calibrated(self, answers: Sequence[StoredAnswer]) -> Calibration:
        return calibrate(answers, self.numbers, self.model, self.rank, datetime.now(UTC))

    def ranks(
        self,
        answers: Sequence[StoredAnswer],
        weight: float,
        *,
        without: Callable[[Case], Sequence[int]] | None = None,
        all_move: bool = False,
    ) -> npt.NDArray[np.float64]:
        """The rank of the first gold page for each question, from 0; inf if not found.

        Args:
            answers: the answers that vote.
            weight: weight of the votes; 0 uses the text alone.
            without: indices of answers excluded for a question.
            all_move: let pages without votes change rank, too.
        """
        if not weight:
            return np.array([_place(case.text, case) for case in self.cases])
        answered = memory.of_answers(answers, self.numbers)
        places = []
        for case in self.cases:
            left_out = np.array(without(case) if without else (), np.int64)
            votes = answered.votes(case.vector, left_out)
            if all_move:
                votes = Votes(votes.shares, {number for number, _ in case.text} | votes.known)
            places.append(_place(combine(case.text, votes, weight), case))
        return np.array(places)


def _place(ranked: Ranked, case: Case) -> float:
    return next((n for n, (number, _) in enumerate(ranked) if number in case.gold), np.inf)


def read_wiki(
    file: Path, learnt: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], embedder: Embedder
) -> tuple[StoredAnswers, Calibration]:
    """Learn one split and prepare to ask the other."""
    search = Search(index.Index(file), embedder)
    writing = partial(index.writing, file)
    answered = [MemoryMatch(str(n), row["question"], _pages(row)) for n, row in enumerate(learnt)]
    wanted = {question_id(row.question) for row in answered}
    with writing() as writer:
        writer.remove_answers(stored.id for stored in writer.answers() if stored.id not in wanted)
    measured = learn(search, writing, answered, progress=_progress).after

    @cache
    def by_text(question: str) -> Ranked:
        vector = embedder.ask(question)
        return search.ranked(search.sought(question), vector)

    numbers = search.index.paths()
    paths = Paths(numbers)
    cases = [
        Case(
            embedder.ask(row["question"]),
            by_text(row["question"]),
            frozenset(numbers[path] for name in _pages(row) if (path := paths.find(name))),
            row.get("created") or "",
        )
        for row in rows
        if _pages(row)
    ]
    wiki = StoredAnswers(
        answers=memory.usable(search.index.answers(), numbers, embedder.model),
        numbers=numbers,
        created={question_id(row["question"]): row.get("created") or "" for row in learnt},
        model=embedder.model,
        rank=lambda question, vector: by_text(question),
        cases=cases,
    )
    return wiki, measured


def _pages(row: dict[str, Any]) -> tuple[str, ...]:
    if not row.get("answerable", True):
        return ()
    return tuple(row.get("context_docs") or [row["context_doc"]])


def _progress(what: str, done: int, total: int) -> None:
    if done == total or not done % 100:
        print(f"{what}: {done:,} of {total:,}", file=sys.stderr)


def report(wiki: StoredAnswers, measured: Calibration, *, sweep: bool) -> Iterator[str]:
    """Lines of Markdown."""
    weight = measured.weight or WEIGHTS[-1]
    everything = wiki.answers
    gold = [{wiki.numbers[path] for path in stored.paths} for stored in everything]

    def same_pages(case: Case) -> list[int]:
        return [place for place, pages in enumerate(gold) if pages & case.gold]

    def not_older(case: Case) -> list[int]:
        return [
            place
            for place, stored in enumerate(everything)
            if not wiki.created[stored.id] or wiki.created[stored.id] >= case.created
        ]

    yield f"Measured on {measured.asked} of the {measured.answers} answers themselves: {measured}\n"
    yield "| way | recall@1 | @3 | @5 | @10 | MRR |"
    yield "|---|---|---|---|---|---|"
    text = wiki.ranks(everything, 0)
    yield _row("text alone", text)
    votes = wiki.ranks(everything, weight)
    yield _row(f"with the memory, weight {weight:g}", votes)
    yield _row(
        "... only answers older than the question",
        wiki.ranks(everything, weight, without=not_older),
    )
    yield _row(
        "... without the answers of its pages", wiki.ranks(everything, weight, without=same_pages)
    )
    yield _row("all pages move", wiki.ranks(everything, weight, all_move=True))
    yield _row(
        "... without the answers of its pages",
        wiki.ranks(everything, weight, without=same_pages, all_move=True),
    )
    if sweep:
        for other in WEIGHTS:
            yield _row(f"weight {other:g}", wiki.ranks(everything, other))
    yield ""
    for at in (1, 5):
        gain = share((votes < at).astype(float) - (text < at))
        yield f"gain at {at}: {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    yield "\n| answers that the page has given | n | text @1 | @5 | memory @1 | @5 |"
    yield "|---|---|---|---|---|---|"
    given = np.array([max(sum(n in pages for pages in gold) for n in c.gold) for c in wiki.cases])
    for low, high in ((0, 0), (1, 2), (3, 9), (10, 29), (30, 10**6)):
        among = (given >= low) & (given <= high)
        if among.any():
            cells = [f"{(r[among] < at).mean():.3f}" for r in (text, votes) for at in (1, 5)]
            yield f"| {low} to {high} | {among.sum()} | {' | '.join(cells)} |"
    yield "\n| answers | pages | on | surely | text @1 | @5 | used @1 | @5 | always on @1 | @5 |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for size in SIZES:
        if size < len(everything):
            yield from _parts(wiki, size, text, weight)


def _parts(
    wiki: StoredAnswers, size: int, text: npt.NDArray[np.float64], weight: float
) -> Iterator[str]:
    """Results with random subsets of the answers."""
    for draw in range(DRAWS):
        chosen = np.random.default_rng((size, draw)).permutation(len(wiki.answers))[:size]
        some = [wiki.answers[n] for n in sorted(chosen)]
        fit = wiki.calibrated(some)
        ways = (text, wiki.ranks(some, fit.weight), wiki.ranks(some, weight))
        cells = [f"{(ranks < at).mean():.3f}" for ranks in ways for at in (1, 5)]
        on = f"{fit.weight:g}" if fit.is_on else "off"
        yield f"| {size} | {fit.pages} | {on} | {fit.surely:+.3f} | {' | '.join(cells)} |"


def _row(name: str, ranks: npt.NDArray[np.float64]) -> str:
    estimates = [share(ranks < at) for at in RANKS] + [share(1 / (ranks + 1))]
    cells = [
        "{:.3f} ({:.3f}-{:.3f})".format(*estimate).replace("0.", ".") for estimate in estimates
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--split", required=True, help="of the rows that are asked")
    parser.add_argument(
        "--learn", nargs="+", default=["train"], help="the splits that are learnt (default: train)"
    )
    parser.add_argument("--source", help="ask only rows whose field `source` is this")
    parser.add_argument("--keep", type=Path, help="file of the index, kept for the next run")
    parser.add_argument("--sweep", action="store_true", help="also other weights")
    options = parser.parse_args()
    try:
        embedder = embed.load()
        if embedder is None:
            raise AskdocsError("the embedding model does not run here: run make setup")
        learnt = [row for split in options.learn for row in read(options.questions, split)]
        rows = [
            row
            for row in read(options.questions, options.split)
            if options.source is None or row.get("source") == options.source
        ]
        with tempfile.TemporaryDirectory() as place:
            file = options.keep or Path(place) / "index.db"
            prepare(options.docs, file, embedder)
            wiki, measured = read_wiki(file, learnt, rows, embedder)
            for line in report(wiki, measured, sweep=options.sweep):
                print(line, flush=True)
    except AskdocsError as error:
        sys.exit(f"memory: {error}")


if __name__ == "__main__":
    main()
