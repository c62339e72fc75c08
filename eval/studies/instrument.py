"""Does the evaluation rank answers as people label them? Each of its scores, on labelled answers.

    python -m eval.studies.instrument ANSWERS.jsonl --docs FOLDER --questions qa_pairs.jsonl \\
        [--split test] [--json | --recorded DIR]

The labelled answers are those of `eval.studies.check`; each has the `row_id` of a row of the
questions, whose written answer it is compared with. Answers of one kind are scored as if a writer
had given them: good, partial, wrong in one sentence, hallucinated, and refusals. A score is worth
something if it separates kinds: AUC is the chance that it is higher for a good answer than for one
of another kind, 0.5 being luck. Intervals are drawn by whole pages.

`--recorded DIR` measures nothing: it writes the same questions and answers, each kind a system, for
`askdocs eval run --questions DIR/questions.jsonl --recorded DIR/recorded.jsonl`.
"""

import argparse
import asyncio
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from eval.questions import rows
from eval.questions.question import Question
from eval.running.answer import Answer
from eval.scoring.groundedness import Groundedness
from eval.scoring.mark import Mark, mark
from eval.scoring.measures import BY_NAME
from eval.scoring.similarity import Similarity
from eval.statistics.agreement import agreement
from gateway.answering.claims import drafts, refuses
from gateway.core.errors import AskdocsError
from gateway.knowledge.search import embed
from gateway.knowledge.sources.markdown import parse
from gateway.knowledge.wiki.page import Page

GOOD = "good"
KINDS = (GOOD, "partial", "wrong", "hallucination", "refusal")
SCORES: dict[str, Callable[[Mark], float | None]] = {
    "right by words": lambda m: float(m.near),
    "token F1": lambda m: m.f1,
    "holds the written answer": lambda m: float(m.contained),
    "meaning (cosine)": lambda m: m.similar,
    "groundedness": lambda m: m.grounded,
    "every claim supported": lambda m: None if m.grounded is None else float(m.grounded == 1),
}
NEEDS_REFERENCE = {"right by words", "token F1", "holds the written answer", "meaning (cosine)"}
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
    """Kinds, questions and answers. Raises AskdocsError: a row is none, or its question is gone."""
    known = {row.id: row for row in rows.read(questions)}
    answers = []
    for number, line in rows.lines(file):
        try:
            row = json.loads(line)
            kind, id = str(row["kind"]).partition(":")[0], str(row["row_id"])
            answerable = bool(row["answerable_from_pages"])
            if split not in (None, row["split"]):
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
                refused=refuses(drafts(row["answer"])),  # as the product has it
                prompt_pages=tuple(row["pages"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise AskdocsError(f"{file}:{number}: not a labelled answer: {error!r}") from None
        answers.append((kind, question, given))
    return answers


def record(answers: Sequence[tuple[str, Question, Answer]], folder: Path) -> None:
    """Write them for `askdocs eval run`; of answers of one kind to one question the first."""
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
    """By kind. Raises AskdocsError: a page is not there."""
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


def area(good: Sequence[tuple[str, float]], other: Sequence[tuple[str, float]]) -> Area:
    """Of scores, each with its cluster."""
    if not good or not other:
        return Area(math.nan, math.nan, math.nan)
    clusters = sorted({where for where, _ in (*good, *other)})
    place = {where: number for number, where in enumerate(clusters)}
    sides = [
        (np.array([place[where] for where, _ in side]), np.array([value for _, value in side]))
        for side in (good, other)
    ]
    (where, ours), (elsewhere, theirs) = sides
    higher = (ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)
    drawn, chance = [], np.random.default_rng(0)
    for _ in range(SAMPLES):
        count = np.bincount(chance.integers(len(clusters), size=len(clusters)), None, len(clusters))
        good_counts, other_counts = count[where], count[elsewhere]
        if good_counts.sum() and other_counts.sum():
            drawn.append(
                float(good_counts @ higher @ other_counts)
                / (good_counts.sum() * other_counts.sum())
            )
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Area(float(higher.mean()), float(low), float(high))


class Row(NamedTuple):
    """Of one score."""

    means: dict[str, float]
    """By kind."""
    auc: dict[str, Area]
    """Of good answers against those of each other kind."""


def measure(marks: dict[str, list[Mark]]) -> dict[str, Row]:
    """By score."""
    table = {}
    for name, of in SCORES.items():
        values = {
            kind: [
                (marked_answer.cluster, value)
                for marked_answer in marks.get(kind, ())
                if marked_answer.answered and (value := of(marked_answer)) is not None
                if name not in NEEDS_REFERENCE or marked_answer.question.answerable
            ]
            for kind in KINDS
        }
        table[name] = Row(
            {kind: sum(v for _, v in each) / len(each) for kind, each in values.items() if each},
            {kind: area(values[GOOD], values[kind]) for kind in KINDS[1:4] if values[kind]},
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--split")
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
    print("\n".join(told(marks)))
    return 0


def shown(table: dict[str, Row]) -> list[str]:
    """A table in Markdown."""
    lines = ["| score | good | partial | wrong | hallucination | AUC of good against partial"
             " | against wrong | against hallucination |", "|---" * 8 + "|"]  # fmt: skip
    for name, row in table.items():
        means = [f"{row.means[kind]:.2f}" if kind in row.means else "–" for kind in KINDS[:4]]
        areas = [str(row.auc[kind]) if kind in row.auc else "–" for kind in KINDS[1:4]]
        lines.append(f"| {' | '.join([name, *means, *areas])} |")
    return lines


def told(marks: dict[str, list[Mark]]) -> Iterator[str]:
    """What the report measures of each kind, and how far scores agree with the labels."""
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
    for name in ("right by words", "every claim supported"):
        scores = {("", f"{n}"): SCORES[name](mark) for n, mark in enumerate(looked)}
        verdicts = {place: score == 1 for place, score in scores.items() if score is not None}
        agreed = agreement(labels, verdicts)
        if agreed and agreed.kappa is not None:
            ends = f"({agreed.low:.2f} to {agreed.high:.2f})"
            yield f"{name} and the label good: kappa {agreed.kappa:.2f} {ends}, n = {agreed.size}"


if __name__ == "__main__":
    sys.exit(main())
