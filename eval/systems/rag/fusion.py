"""From several ranked lists one, and from one list the part that says most."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

# The constant of Cormack, Clarke & Büttcher 2009, where it was found to matter little.
RRF = 60


def fuse(lists: Sequence[Sequence[int]]) -> dict[int, float]:
    """What ranked lists have found, best first, by reciprocal ranks: sums of 1 / (60 + rank).

    (Cormack, Clarke & Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet".) Of equals
    the one that was met first comes first.
    """
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, number in enumerate(ranked, start=1):
            scores[number] = scores.get(number, 0.0) + 1 / (RRF + rank)
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def mmr(relevance: Sequence[float], vectors: Vectors, k: int, weight: float) -> list[int]:
    """Places of up to `k` of the candidates: relevant ones that are unlike those before them.

    Maximal marginal relevance (Carbonell & Goldstein 1998): the next is the one with the largest
    weight * relevance - (1 - weight) * similarity to the most like of those that are chosen.

    Args:
        relevance: of each candidate to the question, 0 to 1.
        vectors: of each candidate, [len(relevance), size], each of length 1.
        k: how many are wanted.
        weight: lambda; 1 is the order of relevance.
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
