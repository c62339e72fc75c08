"""How often the right words are found and shown: short questions to documentation of any kind.

    python -m research.studies.passages --wiki DOCS=QUESTIONS.jsonl [--wiki ...] [--keep FOLDER]
                                    [--split NAME] [--limit N] [--json] [--misses]

DOCS is a folder of Markdown or of HTML. A question is a line of JSON:

    {"question": "rename a branch", "words": ["Move/rename"], "context_docs": ["git-branch"]}
    {"question": "how do I bake bread", "answerable": false}

`words` are phrases of the documentation, at least one of which must be shown; white space, Markdown
syntax and capitals are ignored. `context_docs` are the gold pages, by file stem; without it, every
page with one of the phrases is gold. Without `words`, any text of these pages is right. `--keep`
keeps the indexes for the next run.
"""

import argparse
import asyncio
import hashlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from core.errors import AskdocsError
from gateway.answering.extract import quotations
from gateway.answering.grounding.ground import Grounding
from gateway.upstream.engine import estimates
from research.studies.retrieval import Share, share
from wiki.index import embed, index
from wiki.index.embed import Embedder
from wiki.index.missing import embed_missing
from wiki.search.hits import PassageHit, best_passages, distinct
from wiki.sources.open import open_source
from wiki.sources.source import Changed

# Token budgets of prompts to measure.
BUDGETS = (474, 1000, 3000, 6000)
SHOWN = (1, 3)
RANKS = (1, 5)


@dataclass(frozen=True)
class Question:
    """A question, and how to recognise its answer."""

    text: str
    words: tuple[str, ...]
    """Empty if the wiki has no answer."""
    pages: frozenset[str]


@dataclass(frozen=True)
class Measured:
    """Measurements on a wiki. Shares of answerable questions, except for `refused`."""

    wiki: str
    pages: int
    questions: int
    unanswerable: int
    recall: dict[int, Share]
    """By rank: a gold page is among the first."""
    section: dict[int, Share]
    """By number: the right words are in the sections of the first passages."""
    shown: dict[int, Share]
    """By number: the right words are in the first quotations."""
    read: dict[int, Share]
    """By tokens: a gold page is in the prompt."""
    prompt: dict[int, Share]
    """By tokens: the right words are in the prompt."""
    kept: Share
    """Answerable questions that were not refused."""
    refused: Share
    """Unanswerable questions that were refused."""
    milliseconds: float
    """Median time of a search, without embedding the question."""
    slow: float
    """99th percentile."""
    missed: tuple[str, ...]
    """Questions whose words are not among the first quotations."""


def read(file: Path, split: str | None = None) -> list[Question]:
    """The questions of a file, or of one split. Raises AskdocsError with file and line."""
    questions = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AskdocsError(f"{file}: cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if split is not None and row.get("split") != split:
                continue
            answerable = row.get("answerable", True)
            pages = frozenset(PurePosixPath(path).stem for path in row.get("context_docs", ()))
            # Any text of a named page contains the empty phrase.
            phrases = row.get("words", [""] if pages else [])
            words = tuple(map(plain, phrases)) if answerable else ()
            if answerable and not words:
                raise ValueError
            questions.append(Question(str(row["question"]), words, pages))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise AskdocsError(
                f"{file}:{number}: is not a JSON object with question, and words or context_docs"
                " (or answerable: false)"
            ) from None
    return questions


def plain(text: str) -> str:
    """Text normalised for comparing words."""
    return re.sub(r"[*_`\\]+", "", " ".join(text.split())).casefold()


def build(docs: Path, file: Path, embedder: Embedder | None) -> None:
    """Index a folder. Raises AskdocsError."""
    source = open_source(str(docs), None, "http://wiki/")
    index.build(file, (change.page for change in source.read({}) if isinstance(change, Changed)))
    if embedder:
        embed_missing(partial(index.writing, file), embedder)


def kept(docs: Path, folder: Path, embedder: Embedder | None) -> Path:
    """The index of a wiki in a folder of indexes, built if missing."""
    digest = hashlib.sha256(str(docs.resolve()).encode()).hexdigest()[:16]
    file = folder / f"{digest}.db"  # not the questions file's name: many are called qa_pairs.jsonl
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        build(docs, file, embedder)
    return file


def measure(
    name: str,
    file: Path,
    questions: Sequence[Question],
    embedder: Embedder | None,
) -> Measured:
    """Ask all questions of a wiki.

    Args:
        name: name of the wiki.
        file: its index file, with vectors.
        questions: see `read`.
        embedder: None: keyword search only.
    """
    with closing(index.Index(file)) as opened:
        grounding = Grounding(opened, estimates, embedder)
        texts = {page.path: plain(page.text) for page in opened.pages()}
        recall: list[float] = []
        section: list[float] = []
        shown: list[float] = []
        read: dict[int, list[bool]] = {budget: [] for budget in BUDGETS}
        prompts: dict[int, list[bool]] = {budget: [] for budget in BUDGETS}
        answered: list[bool] = []
        refused: list[bool] = []
        took: list[float] = []
        missed: list[str] = []
        for question in questions:
            if embedder:
                embedder.embed([question.text])
            began = time.perf_counter()
            hits = grounding.search.find(question.text)
            took.append(1000 * (time.perf_counter() - began))
            looked = asyncio.run(grounding.look_up(question.text))
            if not question.words:
                refused.append(not looked.is_answered)
                continue
            answered.append(looked.is_answered)
            right = {path for path, text in texts.items() if is_right(question, path, text)}
            if not right:
                raise AskdocsError(f"{name}: {question.text}: no page has its words")
            places = [place for place, hit in enumerate(hits) if hit.page.path in right]
            recall.append(places[0] if places else np.inf)
            best = distinct(best_passages(hits))
            places = [
                place
                for place, hit in enumerate(best)
                if hit.page.path in right and _has(question, _section(hit))
            ]
            section.append(places[0] if places else np.inf)
            quoted = enumerate(quotations(best))
            places = [place for place, hit in quoted if holds(question, hit)]
            shown.append(places[0] if places else np.inf)
            if not places or places[0] >= SHOWN[-1]:
                missed.append(question.text)
            for budget, of_budget in prompts.items():
                chosen = asyncio.run(grounding.ground(question.text, budget)).excerpts
                read[budget].append(any(excerpt.page.path in right for excerpt in chosen))
                of_budget.append(
                    any(
                        excerpt.page.path in right and _has(question, excerpt.text)
                        for excerpt in chosen
                    )
                )
    return Measured(
        name,
        len(texts),
        len(recall),
        len(refused),
        {rank: share(np.array(recall) < rank) for rank in RANKS},
        {count: share(np.array(section) < count) for count in SHOWN},
        {count: share(np.array(shown) < count) for count in SHOWN},
        {budget: share(np.array(values, bool)) for budget, values in read.items()},
        {budget: share(np.array(values, bool)) for budget, values in prompts.items()},
        share(np.array(answered, bool)),
        share(np.array(refused, bool)),
        float(np.median(took)),
        float(np.percentile(took, 99)),
        tuple(missed),
    )


def is_right(question: Question, path: str, text: str) -> bool:
    """Is a page with this path gold, given its `plain` text or part of it?"""
    named = not question.pages or PurePosixPath(path).stem in question.pages
    return named and any(words in text for words in question.words)


def holds(question: Question, hit: PassageHit) -> bool:
    """Does a passage contain the answer?"""
    text = f"{hit.passage.term}\n{hit.passage.text}"
    return is_right(question, hit.page.path, plain(text))


def _section(hit: PassageHit) -> str:
    return hit.page.sections[hit.passage.section].text


def _has(question: Question, text: str) -> bool:
    return any(words in plain(text) for words in question.words)


def table(measured: Sequence[Measured]) -> Iterator[str]:
    """The measurements as a Markdown table."""
    yield (
        "| wiki | n | page @1 | @5 | words in the first section | first three"
        " | words in the first quotation | first three"
        f" | a right page, and the words in the prompt at {' / '.join(map(str, BUDGETS))} tokens"
        " | kept | refused | ms, p50 / p99 |"
    )
    yield "|---" * 12 + "|"
    for row in measured:
        prompts = "; ".join(
            " / ".join(_percent(number.value) for number in of.values())
            for of in (row.read, row.prompt)
        )
        cells = [*row.recall.values(), *row.section.values(), *row.shown.values()]
        yield (
            f"| {row.wiki} | {row.questions} + {row.unanswerable}"
            f" | {' | '.join(map(_cell, cells))} | {prompts} | {_cell(row.kept)}"
            f" | {_cell(row.refused)} | {row.milliseconds:.1f} / {row.slow:.1f} |"
        )


def _cell(value: Share) -> str:
    return f"{_percent(value.value)} ({_percent(value.low)}-{_percent(value.high)})"


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wiki", action="append", required=True, metavar="DOCS=QUESTIONS")
    parser.add_argument("--split", help="only questions whose field `split` is this")
    parser.add_argument("--limit", type=int, help="ask only so many questions of each file")
    parser.add_argument("--keep", type=Path, help="folder of the indexes, for the next run")
    parser.add_argument("--words-only", action="store_true", help="as without the model")
    parser.add_argument("--misses", action="store_true", help="name the questions that failed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    embedder = None if options.words_only else embed.load()
    measured = []
    try:
        for pair in options.wiki:
            docs, _, questions = pair.rpartition("=")
            to_ask = read(Path(questions), options.split)[: options.limit]
            name = Path(questions).stem
            with tempfile.TemporaryDirectory() as place:
                file = (options.keep or Path(place)) / f"{name}.db"
                file.parent.mkdir(parents=True, exist_ok=True)
                build(Path(docs), file, embedder)
                measured.append(measure(name, file, to_ask, embedder))
    except AskdocsError as error:
        sys.exit(f"passages: {error}")
    if options.json:
        print(json.dumps([asdict(row) for row in measured], indent=2))
        return
    print("\n".join(table(measured)))
    for row in measured if options.misses else ():
        print(f"\n{row.wiki}:", *row.missed, sep="\n  ")


if __name__ == "__main__":
    main()
