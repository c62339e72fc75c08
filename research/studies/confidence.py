"""How far confidence can be trusted: refusals, reliability, and the curves behind both.

    python -m research.studies.confidence --wiki DOCS=qa_pairs.jsonl --wiki docs \\
        [--split validation] [--fit]

A wiki is a folder of Markdown, and optionally the questions that people asked it (rows as of
research.studies.retrieval; `title`, a question's short form, is asked too). Of every wiki its
question-shaped headings are asked, and to every wiki the questions of the others, which it does not
answer.

With `--engine URL --limit N` a model answers N questions of each kind, so that what it says counts,
too. `--fit` prints the constants of gateway/answering/grounding/confidence.py.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath

import httpx
import numpy as np
import numpy.typing as npt

from core.errors import AskdocsError
from gateway.answering.grounding.confidence import (
    CAUTION,
    Signals,
    confidence,
    features,
    is_about,
)
from gateway.answering.grounding.ground import Grounding
from gateway.upstream.engine import Engine, estimates
from research.studies.answering import answer
from research.studies.retrieval import read
from wiki.index import index
from wiki.index.embed import Embedder, load
from wiki.index.missing import embed_missing
from wiki.pages.page import Page
from wiki.sources import folder

Floats = npt.NDArray[np.float64]

BY_WORDS = ("words", "share", "heading")
BY_MEANING = ("share", "similarity")
RIGHT_BY_WORDS = (*BY_WORDS, "lead")
RIGHT = ("words", "lead", "similarity")
BUDGET = 1500  # tokens of pages: about five seconds of reading on two cores
BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Case:
    """A question asked to a wiki."""

    kind: str
    question: str
    answerable: bool
    right: bool
    """Is the first retrieved page a gold page?"""
    signals: Signals
    answer: str = ""
    """The model's answer, if it was asked."""


@dataclass(frozen=True)
class QuestionedWiki:
    """A folder, and its questions with the paths of their gold pages."""

    name: str
    docs: Path
    pages: list[Page]
    asked: dict[str, list[tuple[str, frozenset[str]]]]
    """By kind; no paths: the wiki does not answer the question."""


def open_wiki(argument: str, split: str | None) -> QuestionedWiki:
    """`DOCS` or `DOCS=QUESTIONS`. Raises AskdocsError: there is no page, or no such file."""
    docs, _, questions = argument.partition("=")
    pages = folder.read(Path(docs), "http://wiki/").pages
    name = Path(docs).resolve().parent.name if Path(docs).name == "docs" else Path(docs).name
    by_source: dict[str, list[tuple[str, frozenset[str]]]] = {}
    headings = [
        (section.heading, frozenset([_stem(page.path)]))
        for page in pages
        for section in page.sections
        if section.heading.endswith("?") and section.body
    ]
    by_source["headings"] = headings
    for row in read(Path(questions), split) if questions else ():
        paths = row.get("context_docs") or [row.get("context_doc")]
        gold = frozenset(_stem(path) for path in paths if path)
        if row.get("answerable", True) is False:
            gold = frozenset()
        whose = "questions" if gold else "other product"
        by_source.setdefault(whose, []).append((row["question"], gold))
        if (title := row.get("title")) and title != row["question"]:
            by_source.setdefault(f"{whose}, titles", []).append((title, gold))
    return QuestionedWiki(name, Path(docs), pages, by_source)


@dataclass(frozen=True)
class Asking:
    """An engine that answers some of the questions."""

    engine: Engine
    limit: int
    """Number of questions of each kind."""


async def gather(
    wikis: Sequence[QuestionedWiki], embedder: Embedder | None, asking: Asking | None = None
) -> list[Case]:
    """Ask every wiki its own questions and those of the others.

    Raises:
        AskdocsError, httpx.HTTPError: the engine is away.
    """
    cases = []
    with tempfile.TemporaryDirectory() as place:
        for number, wiki in enumerate(wikis):
            file = Path(place) / f"{number}.db"
            index.build(file, wiki.pages)
            if embedder:
                embed_missing(partial(index.writing, file), embedder)
            wiki_index = index.Index(file)
            count = asking.engine.counts if asking else estimates
            grounding = Grounding(wiki_index, count, embedder)
            for kind, pairs in _questions(wiki, wikis):
                if asking:
                    pairs = random.Random(7).sample(pairs, min(asking.limit, len(pairs)))  # noqa: S311 -- no secret
                for question, gold in pairs:
                    case = _found(grounding, kind, question, gold)
                    cases.append(await _answered(grounding, asking, case, gold) if asking else case)
            wiki_index.close()
    return cases


def _found(grounding: Grounding, kind: str, question: str, gold: frozenset[str]) -> Case:
    hits, signals = grounding.find(grounding.search.sought(question))
    right = bool(hits) and _stem(hits[0].page.path) in gold
    return Case(kind, question, bool(gold), right, signals)


async def _answered(grounding: Grounding, asking: Asking, case: Case, gold: frozenset[str]) -> Case:
    """The case with the model's answer; unchanged if refused without reading."""
    grounds = await grounding.ground(case.question, BUDGET)
    if not grounds.excerpts:
        return case
    given = await answer(
        asking.engine,
        grounds.excerpts,
        case.question,
        grounding.index.idf,
    )
    signals = replace(case.signals, logprob=given.logprob)
    right = given.page is not None and _stem(given.page.path) in gold
    return replace(case, signals=signals, answer=given.text, right=right)


def _questions(
    wiki: QuestionedWiki, wikis: Sequence[QuestionedWiki]
) -> Iterator[tuple[str, list[tuple[str, frozenset[str]]]]]:
    for kind, pairs in wiki.asked.items():
        yield f"{wiki.name}: {kind}", pairs
    for other in wikis:
        for kind, pairs in other.asked.items() if other is not wiki else ():
            yield f"{wiki.name}: {kind} of {other.name}", [(q, frozenset()) for q, _ in pairs]


def fit(x: Floats, y: Floats, weight: Floats, ridge: float = 1.0) -> Floats:
    """A logistic regression by Newton's method: bias and weights [1 + features].

    Args:
        x: [n, features].
        y: [n], 0 or 1.
        weight: [n], the rows' weights.
        ridge: how strongly weights are drawn to 0, in units of the rows' standard deviation.
    """
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    z = np.concatenate([np.ones((len(x), 1)), (x - mean) / scale], axis=1)
    penalty = ridge * np.diag([0.0] + [1.0] * x.shape[1])
    beta = np.zeros(z.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-z @ beta))
        curvature = z.T @ (z * (weight * p * (1 - p))[:, None]) + penalty
        beta += np.linalg.solve(curvature, z.T @ (weight * (y - p)) - penalty @ beta)
    weights = beta[1:] / scale
    return np.concatenate([[beta[0] - weights @ mean], weights])


def fitted(
    cases: Sequence[Case], names: Sequence[str], right: bool
) -> tuple[float, dict[str, float]]:
    """Bias and weights of a curve. Every kind of question has the same total weight."""
    x = np.array([[features(case.signals)[name] for name in names] for case in cases])
    y = np.array([case.right if right else case.answerable for case in cases], dtype=float)
    kinds = [case.kind for case in cases]
    weight = np.array([1.0 if right else 50 / kinds.count(kind) for kind in kinds])
    bias, *weights = fit(x, y, weight)
    return float(bias), dict(zip(names, map(float, weights), strict=True))


@dataclass(frozen=True)
class Bin:
    """Answers with similar confidence."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean confidence."""
    true: float
    """The share of right answers."""


def reliability(cases: Sequence[Case]) -> tuple[list[Bin], float]:
    """The reliability curve, and the expected calibration error: the mean distance of its points
    from the diagonal, weighted by count."""
    stated = np.array([confidence(case.signals) for case in cases])
    true = np.array([case.right for case in cases], dtype=float)
    bins = []
    for low, high in pairwise(BINS):
        inside = (stated >= low) & ((stated < high) | (high == 1.0))
        if inside.any():
            count = int(inside.sum())
            bins.append(
                Bin(low, high, count, float(stated[inside].mean()), float(true[inside].mean()))
            )
    error = sum(bin_row.count * abs(bin_row.confidence - bin_row.true) for bin_row in bins) / max(
        1, len(cases)
    )
    return bins, float(error)


def report(cases: Sequence[Case]) -> str:
    """A Markdown report of refusals without reading, and of the reliability of confidence."""
    lines = ["| questions | n | refused | page right |", "|---|---|---|---|"]
    for kind in dict.fromkeys(case.kind for case in cases):
        some = [case for case in cases if case.kind == kind]
        refused = sum(not is_about(case.signals) for case in some) / len(some)
        right = f"{sum(c.right for c in some) / len(some):.2f}" if some[0].answerable else ""
        lines.append(f"| {kind} | {len(some)} | {refused:.0%} | {right} |")
    answered = [case for case in cases if is_about(case.signals)]
    bins, error = reliability(answered)
    lines += ["", "| confidence | n | mean | right |", "|---|---|---|---|"]
    for row in bins:
        lines.append(
            f"| {row.low:.1f} to {row.high:.1f} | {row.count} | {row.confidence:.2f} |"
            f" {row.true:.2f} |"
        )
    lines += ["", f"Expected calibration error {error:.3f} over {len(answered)} answers."]
    sure = [case for case in answered if confidence(case.signals) >= CAUTION]
    for name, some in (("sure", sure), ("all", answered)):
        lines.append(f"Right of {name}: {sum(c.right for c in some)} of {len(some)}.")
    return "\n".join(lines)


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def _curve(name: str, curve: tuple[float, dict[str, float]]) -> str:
    weights = ", ".join(f'"{key}": {value:.2f}' for key, value in curve[1].items())
    return f"{name} = Curve({curve[0]:.2f}, {{{weights}}})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="research.studies.confidence", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--wiki", action="append", required=True, metavar="DOCS[=QUESTIONS]")
    parser.add_argument("--split", help="of the questions")
    parser.add_argument("--words-only", action="store_true", help="without embeddings")
    parser.add_argument("--fit", action="store_true", help="print the constants")
    parser.add_argument("--engine", metavar="URL", help="base URL of an engine that answers")
    parser.add_argument("--limit", type=int, default=20, help="questions of each kind it answers")
    options = parser.parse_args(arguments)
    try:
        print(asyncio.run(_run(options)))
    except (AskdocsError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


async def _run(options: argparse.Namespace) -> str:
    wikis = [open_wiki(argument, options.split) for argument in options.wiki]
    embedder = None if options.words_only else load()
    asking = None
    if options.engine:
        asking = Asking(Engine(options.engine), options.limit)
    try:
        cases = await gather(wikis, embedder, asking)
    finally:
        if asking:
            await asking.engine.close()
    if not options.fit:
        return report(cases)
    about = [case for case in cases if is_about(case.signals)]
    names = RIGHT if embedder else RIGHT_BY_WORDS
    first = fitted(cases, BY_MEANING if embedder else BY_WORDS, right=False)
    return "\n".join(
        [
            _curve("BY_MEANING" if embedder else "BY_WORDS", first),
            _curve("RIGHT" if embedder else "RIGHT_BY_WORDS", fitted(about, names, right=True)),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
