"""Trivial baselines: a system that is no better has learned nothing."""

from collections.abc import Callable, Iterable, Iterator

from gateway.answering.grounding.prompt import REFUSAL
from gateway.answering.grounding.sentences import units
from wiki.pages.words import content_words

Reader = Callable[[Iterable[str], str], str]
"""From page texts, best first, and a question to an answer; empty: no answer."""


def first_sentence(texts: Iterable[str], question: str) -> str:
    """The first sentence under the first heading with text in the first page; else empty."""
    return next(_sentences(list(texts)[:1]), "")


def always_refuse(texts: Iterable[str], question: str) -> str:
    return REFUSAL


def best_overlap(texts: Iterable[str], question: str) -> str:
    """The sentence that shares most words with the question; else empty."""
    question_words = set(content_words(question))

    def shared(sentence: str) -> int:
        return len(question_words.intersection(content_words(sentence)))

    return max(_sentences(texts), key=shared, default="")


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for unit in units(text, most=None):
            if not unit.text.lstrip().startswith("#"):
                yield unit.text
