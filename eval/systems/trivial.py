"""Readers that understand nothing: whoever is no better than they has learnt nothing."""

from collections.abc import Callable, Iterable, Iterator

from gateway.answering.grounding.prompt import REFUSAL
from gateway.answering.grounding.sentences import units
from gateway.knowledge.wiki.words import content_words

Reader = Callable[[Iterable[str], str], str]
"""From texts of pages, the best one first, and a question to an answer; empty: there is none."""


def first_sentence(texts: Iterable[str], question: str) -> str:
    """Of the first text, under its first heading that has one; else empty."""
    return next(_sentences(list(texts)[:1]), "")


def always_refuse(texts: Iterable[str], question: str) -> str:
    return REFUSAL


def best_overlap(texts: Iterable[str], question: str) -> str:
    """The sentence of any text that shares most words with the question; else empty."""
    question_words = set(content_words(question))

    def shared(sentence: str) -> int:
        return len(question_words.intersection(content_words(sentence)))

    return max(_sentences(texts), key=shared, default="")


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for unit in units(text, most=None):
            if not unit.text.lstrip().startswith("#"):
                yield unit.text
