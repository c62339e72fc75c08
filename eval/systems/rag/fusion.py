"""Fuses ranked lists, and diversifies a list."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

# The constant of Cormack, Clarke & Büttcher 2009, who found that it matters little.
RRF = 60


def fuse(lists: Sequence[Sequence[int]]) -> dict[int, float]:
    """Reciprocal rank fusion of ranked lists: sums of 1 / (60 + rank), best first.

    (Cormack, Clarke & Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet".) Ties keep the
    order of first occurrence.
    """
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, number in enumerate(ranked, start=1):
            scores[number] = scores.get(number, 0.0) + 1 / (RRF + rank)
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def mmr(relevance: Sequence[float], vectors: Vectors, k: int, weight: float) -> list[int]:
    """Indices of up to `k` candidates that are relevant and unlike those chosen before them.

    Maximal marginal relevance (Carbonell & Goldstein 1998): the next candidate maximises weight *
    relevance - (1 - weight) * similarity to the most similar chosen candidate.

    Args:
        relevance: each candidate's relevance to the question, 0 to 1.
        vectors: the candidates' vectors, [len(relevance), size], each of length 1.
        k: maximum number.
        weight: lambda; 1 sorts by relevance alone.
    """
    left = np.asarray(relevance, dtype=float)
    alike = np.zeros(len(left))
    chosen: list[int] = []
    while len(chosen) < min(k, len(left)):
        gain = weight * left - (1 - weight) * alike
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        similarity = vectors @ vectors[best]
        alike = np.maximum(alike, similarity) if chosen else similarity
        chosen.append(best)
    return chosen
