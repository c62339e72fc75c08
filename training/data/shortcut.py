"""Measures how well a model could score on a dataset without reading the pages.

A model may answer with the beginning of a page: if gold pages come first more often than elsewhere,
or answers are the beginnings of their pages, it learns that instead of reading. Or it may give the
most frequent answer: all refusals are one sentence, so its first word can be the likeliest even if
four of five examples are answers, and greedy decoding then always refuses. Both are measured on
every built dataset.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from eval.scoring.words import token_f1
from training.data.examples import CLOSED, GROUNDED, Example


class Shortcut(NamedTuple):
    """Mean token F1 of answers against the first sentences of pages."""

    examples: int
    first: float
    """Against the first page."""
    any: float
    """Against a random page: chance."""
    gold: float
    """Against the gold page, wherever it is."""
    error: float
    """Standard error of `first` minus `any`."""


def shortcuts(examples: Iterable[Example]) -> dict[str, Shortcut]:
    """Scores by the position of the gold page, and overall; only prompts with several pages
    count."""
    by_position: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for example in examples:
        if example.position and len(example.pages) > 1:
            scores = [token_f1(example.answer, opening) for opening in example.openings]
            row = scores[0], fmean(scores), scores[example.position - 1]
            by_position[f"{example.position} of {len(example.pages)}"].append(row)
            by_position["all"].append(row)
    return {name: _summed(by_position[name]) for name in sorted(by_position)}


class Openings(NamedTuple):
    """Shares of the examples."""

    refusal: float
    """Share of refusals."""
    answer: float
    """Share of answers that begin with the most frequent first word."""
    word: str
    """That word; empty if there are no answers."""

    @property
    def refuses_always(self) -> bool:
        """Would a model that cannot tell whether the pages answer a question refuse every
        question?"""
        return self.refusal > self.answer


def openings(examples: Sequence[Example]) -> Openings:
    """Measure the examples with pages."""
    open_book = [example for example in examples if example.kind != CLOSED]
    answers = [example for example in open_book if example.kind == GROUNDED]
    if not answers:
        return Openings(float(bool(open_book)), 0.0, "")
    words = Counter(example.answer.split(maxsplit=1)[0] for example in answers)
    word, count = words.most_common(1)[0]
    refusals = len(open_book) - len(answers)
    return Openings(round(refusals / len(open_book), 4), round(count / len(open_book), 4), word)


def _summed(rows: Sequence[tuple[float, float, float]]) -> Shortcut:
    first, chance, gold = (fmean(values) for values in zip(*rows, strict=True))
    ahead = [row[0] - row[1] for row in rows]
    error = stdev(ahead) / len(rows) ** 0.5 if len(rows) > 1 else 0.0
    return Shortcut(len(rows), *(round(value, 4) for value in (first, chance, gold, error)))
