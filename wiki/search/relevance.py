"""Relevance scores of texts for a question, from a reranker.

The score is a sum, as in the search: the similarity of the question to the nearest spans of a text,
and the text's share of its words. Spans are cut from the encoding of the whole text, so that each
reflects its context ("late chunking", https://arxiv.org/abs/2409.04701). Other measurements:
research/notebook.md, "Reranking".
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wiki.index.embed import SIZE, Vectors, unit
from wiki.index.index import WEIGHTING
from wiki.pages.asking import language
from wiki.pages.words import stems
from wiki.search.query import asked
from wiki.search.ranking import NEAREST

# Tokens per span, and between the starts of spans.
SPAN = 96
STEP = 48
# The weight of the share of words, relative to similarity.
LEXICAL = 0.5


class EncodedText(NamedTuple):
    """A text and its encoding."""

    text: str
    spans: Vectors
    """See `spans`."""


def spans(windows: Sequence[Vectors]) -> Vectors:
    """Vectors of length 1 for all spans of a text, [n, 384], n at least 1.

    Args:
        windows: a vector per token of each window, including marks: see `Embedder.read`.
    """
    tokens = np.concatenate([window[1:-1] for window in windows])
    if not len(tokens):
        return np.zeros((1, SIZE), np.float32)
    starts = range(0, max(1, len(tokens) - SPAN + STEP), STEP)
    return unit(np.stack([tokens[start : start + SPAN].mean(axis=0) for start in starts]))


def relevance(
    question: str, vector: Vectors, texts: Sequence[EncodedText], lexical: float = LEXICAL
) -> list[float]:
    """The relevance of each text, from 0 to 1; `vector` is the question's, [384]."""
    like = [_similarity(text.spans @ vector) for text in texts]
    share = shares(question, [text.text for text in texts])
    return [
        min(1.0, max(0.0, (cosine + lexical * other) / (1 + lexical)))
        for cosine, other in zip(like, share, strict=True)
    ]


def _similarity(similarities: Vectors) -> float:
    """Averages the nearest spans; a text with fewer repeats its last one."""
    best = np.sort(similarities)[::-1][: len(NEAREST)]
    return float(np.pad(best, (0, len(NEAREST) - len(best)), mode="edge") @ NEAREST)


def shares(question: str, texts: Sequence[str]) -> list[float]:
    """The question's words in each text, from 0 to 1, by BM25 among these texts.

    As in the search, each text is compared in the stems of its language.

    https://www.staff.city.ac.uk/~sbrp622/papers/foundations_bm25_review.pdf
    """
    languages = [language(text) for text in texts]
    words = {name: asked(question, language=name).words for name in set(languages)}
    counts = [Counter(stems(text, name)) for text, name in zip(texts, languages, strict=True)]
    held = Counter(
        word
        for count, name in zip(counts, languages, strict=True)
        for word in words[name]
        if count[word]
    )
    weights = {
        name: {
            word: weight * math.log(1 + (len(texts) - held[word] + 0.5) / (held[word] + 0.5))
            for word, weight in in_language.items()
        }
        for name, in_language in words.items()
    }
    every = {name: sum(in_language.values()) or 1.0 for name, in_language in weights.items()}
    usual = sum(count.total() for count in counts) / len(texts) or 1.0
    result = []
    for count, name in zip(counts, languages, strict=True):
        k1, b = WEIGHTING.k1, WEIGHTING.b
        length = k1 * (1 - b + b * count.total() / usual)
        gains = (
            weight * count[word] / (count[word] + length) for word, weight in weights[name].items()
        )
        result.append(sum(gains) / every[name])
    return result
