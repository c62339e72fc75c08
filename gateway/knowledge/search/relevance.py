"""Relevance scores of texts for a question, from a reranker.

A sum, as in the search: how like the question the nearest parts of a text are in meaning, and which
share of its words the text has. The parts are spans of what the model made of the whole text, so
that each knows what stands around it ("late chunking", https://arxiv.org/abs/2409.04701). What else
was measured: docs/results/notebook.md, "Reranking".
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gateway.knowledge.search.asked import asked
from gateway.knowledge.search.embed import SIZE, Vectors, unit
from gateway.knowledge.search.index import WEIGHTING
from gateway.knowledge.search.search import NEAREST
from gateway.knowledge.wiki.words import stems

# Tokens of a span, and from the beginning of one to that of the next.
SPAN = 96
STEP = 48
# What the share of the words counts beside the similarity.
LEXICAL = 0.5


class EncodedText(NamedTuple):
    """A text, and what the model made of it."""

    text: str
    spans: Vectors
    """See `spans`."""


def spans(windows: Sequence[Vectors]) -> Vectors:
    """Vectors of length 1 of all spans of a text, [n, 384], n at least 1.

    Args:
        windows: a vector for each token of each piece, the marks included: see `Embedder.read`.
    """
    tokens = np.concatenate([window[1:-1] for window in windows])
    if not len(tokens):
        return np.zeros((1, SIZE), np.float32)
    starts = range(0, max(1, len(tokens) - SPAN + STEP), STEP)
    return unit(np.stack([tokens[start : start + SPAN].mean(axis=0) for start in starts]))


def relevance(
    question: str, vector: Vectors, texts: Sequence[EncodedText], lexical: float = LEXICAL
) -> list[float]:
    """From 0 to 1, for each of `texts`; `vector` is the question's, [384]."""
    like = [_similarity(text.spans @ vector) for text in texts]
    share = shares(question, [text.text for text in texts])
    return [
        min(1.0, max(0.0, (cosine + lexical * other) / (1 + lexical)))
        for cosine, other in zip(like, share, strict=True)
    ]


def _similarity(similarities: Vectors) -> float:
    """Of the nearest spans; of a text with fewer the last repeats."""
    best = np.sort(similarities)[::-1][: len(NEAREST)]
    return float(np.pad(best, (0, len(NEAREST) - len(best)), mode="edge") @ NEAREST)


def shares(question: str, texts: Sequence[str]) -> list[float]:
    """From 0 to 1: how many of the question's words each text has, by BM25 among these texts.

    https://www.staff.city.ac.uk/~sbrp622/papers/foundations_bm25_review.pdf
    """
    words = asked(question).words
    counts = [Counter(stems(text)) for text in texts]
    held = Counter(word for count in counts for word in words if count[word])
    weights = {
        word: weight * math.log(1 + (len(texts) - held[word] + 0.5) / (held[word] + 0.5))
        for word, weight in words.items()
    }
    every = sum(weights.values()) or 1.0
    usual = sum(count.total() for count in counts) / len(texts) or 1.0
    result = []
    for count in counts:
        k1, b = WEIGHTING.k1, WEIGHTING.b
        length = k1 * (1 - b + b * count.total() / usual)
        gains = (weight * count[word] / (count[word] + length) for word, weight in weights.items())
        result.append(sum(gains) / every)
    return result
