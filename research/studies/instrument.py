"""Does the evaluation rank answers as people label them? Each of its scores, on labelled answers.

    python -m research.studies.instrument ANSWERS.jsonl --docs FOLDER --questions qa_pairs.jsonl \\
        [--split validation,test] [--json | --recorded DIR]

The labelled answers are those of `eval.scoring.check`; each has the `row_id` of a question's row,
with whose reference answer it is compared. Each kind of answers is scored like a system: good,
partial, wrong in one sentence, hallucinated, and refusals. A useful score ranks them in this order:
the AUC of two kinds is the probability that it is higher for an answer of the better kind, 0.5
being chance, and "order" is the mean AUC of all pairs of kinds
(Hand & Till 2001, https://doi.org/10.1023/A:1010920819831). The length of an answer is a baseline:
a score that does no better is useless. Intervals are bootstrapped by page.

`--recorded DIR` measures nothing: it writes the same questions and answers, each kind as a system,
for
`askdocs eval run --questions DIR/questions.jsonl --recorded DIR/recorded.jsonl`.
"""

import argparse
import asyncio
import itertools
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from core.errors import AskdocsError
from eval.questions import rows
from eval.questions.question import Question
from eval.running.answer import Answer
from eval.scoring.groundedness import Groundedness
from eval.scoring.mark import Mark, mark
from eval.scoring.measures import BY_NAME, supported_utility
from eval.scoring.similarity import Similarity
from eval.scoring.words import admits_gap
from eval.statistics.agreement import agreement
from gateway.answering.claims import drafts, refuses
from wiki.index import embed
from wiki.pages.page import Page
from wiki.sources.markdown import parse

GOOD = "good"
RANKED = (GOOD, "partial", "wrong", "hallucination")
"""Kinds of answers, the best first."""
KINDS = (*RANKED, "refusal")
PAIRS = list(itertools.combinations(RANKED, 2))
SCORES: dict[str, Callable[[Mark], float | None]] = {
    "right by words": lambda m: float(m.near),
    "token F1": lambda m: m.f1,
    "contains the reference answer": lambda m: float(m.contained),
    "meaning (cosine)": lambda m: m.similar,
    "groundedness": lambda m: m.grounded,
    "every claim supported": lambda m: None if m.grounded is None else float(m.grounded == 1),
    # Equally supported answers rank by whether they have gaps.
    "groundedness, then no gap admitted": lambda m: (
        None if m.grounded is None else m.grounded - 1e-6 * admits_gap(m.answer.text)
    ),
    "utility by groundedness": supported_utility,
    "no gap admitted": lambda m: float(not admits_gap(m.answer.text)),
    "length, for comparison": lambda m: float(len(m.answer.text.split())),
}
NEEDS_REFERENCE = {
    "right by words",
    "token F1",
    "contains the reference answer",
    "meaning (cosine)",
}
SAMPLES = 1000


class Area(NamedTuple):
    """An AUC with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def labelled(file: Path, questions: Path, split: str | None) -> list[tuple[str, Question, Answer]]:
    """Kinds, questions and answers. Raises AskdocsError: a row is invalid, or its question is
    missing."""
    known = {row.id: row for row in rows.read(questions)}
    answers = []
    for number, line in rows.lines(file):
        try:
            row = json.loads(line)
            kind, id = str(row["kind"]).partition(":")[0], str(row["row_id"])
            answerable = bool(row["answerable_from_pages"])
            if split is not None and row["split"] not in split.split(","):
                continue
            question = Question(
                id=id,
                line=number,
                text=row["question"],
                answer=known[id].answer if answerable else "",
                answerable=answerable,
                pages=tuple(row["pages"][:1]) if answerable else (),
                type="",
            )
            given = Answer(
                system=kind,
                question=id,
                text=row["answer"],
                refused=refuses(drafts(row["answer"])),  # as in the product
                prompt_pages=tuple(row["pages"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise AskdocsError(f"{file}:{number}: not a labelled answer: {error!r}") from None
        answers.append((kind, question, given))
    return answers


def record(answers: Sequence[tuple[str, Question, Answer]], folder: Path) -> None:
    """Write them for `askdocs eval run`; of several answers of a kind to a question, the first."""
    question_rows: dict[str, dict[str, Any]] = {}
    given: dict[tuple[str, str], dict[str, Any]] = {}
    for kind, question, answer in answers:
        pages = {"answer": question.answer, "context_doc": next(iter(question.pages), None)}
        row = {"id": question.id, "question": question.text.strip(), "split": "test"}
        question_rows[question.id] = row | pages | {"answerable": question.answerable}
        text = {"answer": answer.text, "pages": answer.prompt_pages}
        given.setdefault((kind, str(row["question"])), {**row, **text, "system": kind})
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows_ in (("questions", question_rows), ("recorded", given)):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows_.values())
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def marked(
    answers: Sequence[tuple[str, Question, Answer]], docs: Path, work: Path
) -> dict[str, list[Mark]]:
    """Marks by kind. Raises AskdocsError: a page is missing."""
    pages = [_page(docs, path) for path in sorted({p for *_, a in answers for p in a.prompt_pages})]
    grounded = Groundedness(work, pages)
    asyncio.run(grounded.measure([(q, a) for _, q, a in answers], lambda *_: None))
    embedder = embed.load()
    similar = Similarity(work, embedder) if embedder else None
    marks: dict[str, list[Mark]] = defaultdict(list)
    for kind, question, given in answers:
        marks[kind].append(mark(question, given, similar, None, grounded))
    return marks


def _page(docs: Path, path: str) -> Page:
    try:
        return parse(path, (docs / path).read_text(encoding="utf-8"), "https://wiki.example.com/")
    except OSError as error:
        raise AskdocsError(f"{docs / path}: {error.strerror}: name another --docs") from None


Values = Sequence[tuple[str, float]]
"""Scores of answers of a kind, each with its cluster."""


def areas(by_kind: dict[str, Values]) -> dict[tuple[str, str], Area]:
    """The AUC of each pair of kinds, the better kind first."""
    return {pair: area for pair, (area, _) in _drawn(by_kind).items()}


def order(by_kind: dict[str, Values]) -> Area:
    """The mean AUC of all pairs; NaN with fewer than two kinds."""
    pairs = list(_drawn(by_kind).values())
    if not pairs:
        return Area(math.nan, math.nan, math.nan)
    # Pair the values of the same sample of pages.
    means = np.mean([others for _, others in pairs], axis=0)
    low, high = np.nanquantile(means, [0.025, 0.975])
    value = sum(area.value for area, _ in pairs) / len(pairs)
    return Area(value, float(low), float(high))


def _drawn(by_kind: dict[str, Values]) -> dict[tuple[str, str], tuple[Area, list[float]]]:
    """The AUC of each pair, and its values in `SAMPLES` bootstrap samples of pages."""
    clusters = sorted({where for side in by_kind.values() for where, _ in side})
    place = {where: number for number, where in enumerate(clusters)}
    chance = np.random.default_rng(0)
    counts = [
        np.bincount(chance.integers(len(clusters), size=len(clusters)), None, len(clusters))
        for _ in range(SAMPLES if clusters else 0)
    ]
    measured = {}
    for pair in PAIRS:
        good, other = (by_kind.get(kind, ()) for kind in pair)
        if not good or not other:
            continue
        (where, ours), (elsewhere, theirs) = (
            (np.array([place[at] for at, _ in side]), np.array([value for _, value in side]))
            for side in (good, other)
        )
        higher = (ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)
        others = []
        for count in counts:
            weights, their_weights = count[where], count[elsewhere]
            of = float(weights.sum() * their_weights.sum())
            others.append(float(weights @ higher @ their_weights) / of if of else math.nan)
        low, high = np.nanquantile(others, [0.025, 0.975])
        measured[pair] = Area(float(higher.mean()), float(low), float(high)), others
    return measured


class ScoreRow(NamedTuple):
    """Results of a score."""

    means: dict[str, float]
    """By kind."""
    auc: dict[str, Area]
    """By pair of kinds, the better first."""
    order: Area
    sizes: dict[str, int]
    """Number of answers with this score."""


def measure(marks: dict[str, list[Mark]]) -> dict[str, ScoreRow]:
    """Results by score."""
    table = {}
    for name, of in SCORES.items():
        values: dict[str, list[tuple[str, float]]] = {
            kind: [
                (marked_answer.cluster, value)
                for marked_answer in marks.get(kind, ())
                if marked_answer.answered and (value := of(marked_answer)) is not None
                if name not in NEEDS_REFERENCE or marked_answer.question.answerable
            ]
            for kind in KINDS
        }
        ranked: dict[str, Values] = {kind: values[kind] for kind in RANKED}
        table[name] = ScoreRow(
            {kind: sum(v for _, v in each) / len(each) for kind, each in values.items() if each},
            {" over ".join(pair): area for pair, area in areas(ranked).items()},
            order(ranked),
            {kind: len(each) for kind, each in values.items() if each},
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--split", metavar="NAME[,NAME]", help="rows of these splits alone")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--recorded", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        answers = labelled(options.file, options.questions, options.split)
        if options.recorded:
            record(answers, options.recorded)
            return 0
        with TemporaryDirectory() as work:
            marks = marked(answers, options.docs, Path(work))
    except AskdocsError as error:
        print(error, file=sys.stderr)
        return 2
    table = measure(marks)
    if options.json:
        print(json.dumps(table, indent=2))
        return 0
    print("\n".join(shown(table)))
    print("\n".join(agreement_lines(marks)))
    return 0


def shown(table: dict[str, ScoreRow]) -> list[str]:
    """A table in Markdown."""
    pairs = [" over ".join(pair) for pair in PAIRS]
    heads = ["score", *(f"{kind} (mean)" for kind in RANKED), *pairs, "order"]
    lines = [f"| {' | '.join(heads)} |", f"{'|---' * len(heads)}|"]
    for name, row in table.items():
        means = [
            f"{row.means[kind]:.2f}, n = {row.sizes[kind]}" if kind in row.means else "–"
            for kind in RANKED
        ]
        cells = [str(row.auc[pair]) if pair in row.auc else "–" for pair in pairs]
        lines.append(f"| {' | '.join([name, *means, *cells, str(row.order)])} |")
    return lines


def agreement_lines(marks: dict[str, list[Mark]]) -> Iterator[str]:
    """The report's measures of each kind, and the agreement of scores with labels."""
    for name in ("answered", "hallucinated", "true_refusals"):
        each = {kind: BY_NAME[name].estimate(marks[kind]) for kind in KINDS if kind in marks}
        parts = [
            f"{kind} {mean.value:.2f} ({mean.low:.2f} to {mean.high:.2f}, n = {mean.size})"
            for kind, mean in each.items()
            if mean
        ]
        yield f"{name}: {'; '.join(parts)}"
    looked = [mark for kind in (GOOD, "partial", "wrong") for mark in marks.get(kind, ())]
    labels = {("", f"{n}"): mark.answer.system == GOOD for n, mark in enumerate(looked)}
    clusters = {("", f"{n}"): mark.cluster for n, mark in enumerate(looked)}
    for name in ("right by words", "every claim supported"):
        scores = {("", f"{n}"): SCORES[name](mark) for n, mark in enumerate(looked)}
        verdicts = {place: score == 1 for place, score in scores.items() if score is not None}
        agreed = agreement(labels, verdicts, clusters)
        if agreed and agreed.kappa is not None:
            ends = f"({agreed.low:.2f} to {agreed.high:.2f})"
            yield f"{name} and the label good: kappa {agreed.kappa:.2f} {ends}, n = {agreed.size}"


if __name__ == "__main__":
    sys.exit(main())
