"""The answered-question memory: questions that were answered vote for the pages that answered them.

A page that has answered nothing yet cannot get a vote, and would sink below every page that can.
So it stays exactly where its text puts it, and only the others change places among themselves.
How much votes weigh, and whether they count at all, is measured on the wiki's own answers, see
`gateway.search.calibration`.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.search.rows import Answer
from gateway.search.vectors import Floats

# The answered questions that vote. All numbers here were chosen by leaving out one cluster of the
# 1,439 answers of a support wiki at a time, see docs/results.md, "The answered-question memory".
NEIGHBOURS = 60
# Directions in which a wiki's questions hardly differ are stretched, at most until noise would be.
EVENNESS = 2.0
# Text scores are told apart down to this place; below it only votes lift a page.
DEPTH = 50


@dataclass(frozen=True)
class Votes:
    """What the memory says about a question."""

    shares: Mapping[int, float]
    """By page, as a share of the votes for the first: above 0, and 1 for the first."""
    known: AbstractSet[int]
    """The pages that have answered something: those that could have got votes."""


class Memory:
    """Answered questions, near which a new one is looked up. Safe to use from several threads."""

    def __init__(self, vectors: Floats, pages: Sequence[Sequence[int]]) -> None:
        """Of n answered questions, n > 0, the vectors [n, d], and the numbers of their pages."""
        self.size = len(pages)
        self._mean = vectors.mean(axis=0)
        centred = vectors - self._mean
        # Whitening. What all questions of a wiki have in common ("Thunderbird", "my mail") says
        # nothing about the page: without it recall@5 is .025 lower.
        spread, axes = np.linalg.eigh(centred.T @ centred / self.size)
        spread = np.maximum(spread, 0)
        self._axes: Floats = (axes / np.sqrt(spread + EVENNESS * spread.mean() + 1e-12)).astype(
            np.float32
        )
        self._questions = self._seen(vectors)
        self._pages = [tuple(dict.fromkeys(numbers)) for numbers in pages]
        self._counts: dict[int, int] = {}
        for numbers in self._pages:
            for number in numbers:
                self._counts[number] = self._counts.get(number, 0) + 1
        self._known = frozenset(self._counts)

    def votes(self, vector: Floats, without: npt.NDArray[np.int64] | None = None) -> Votes:
        """The votes for a question.

        Args:
            vector: of the question, [d].
            without: places of answers that are to count as if they had never been given.
        """
        nearness = self._questions @ self._seen(vector[None])[0]
        known: AbstractSet[int] = self._known
        if without is not None and len(without):
            nearness[without] = 0
            known = self._known_without(without)
        near = np.arange(self.size)
        if self.size > NEIGHBOURS:
            near = np.sort(np.argpartition(-nearness, NEIGHBOURS)[:NEIGHBOURS])
        counted: dict[int, float] = {}
        for place in near:
            # Below 0 a question is less like this one than any two of the wiki are.
            if (weight := float(nearness[place])) > 0:
                for number in self._pages[place]:
                    counted[number] = counted.get(number, 0.0) + weight * weight
        most = max(counted.values(), default=1.0)
        return Votes({number: count / most for number, count in counted.items()}, known)

    def _known_without(self, without: npt.NDArray[np.int64]) -> AbstractSet[int]:
        left: dict[int, int] = {}
        for place in without:
            for number in self._pages[place]:
                left[number] = left.get(number, self._counts[number]) - 1
        return self._known - {number for number, count in left.items() if not count}

    def _seen(self, vectors: Floats) -> Floats:
        moved = (vectors - self._mean) @ self._axes
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.maximum(length, 1e-9), np.float32)


def remember(
    answers: Sequence[Answer], numbers: Mapping[str, int], model: str
) -> tuple[Memory, list[Answer]] | None:
    """A memory of the answers that can vote, and these answers in its order; None without any.

    Args:
        answers: all that are stored.
        numbers: of every page of the wiki, by path; what an answer says of others is dropped.
        model: the embedding model of the questions to come; a vector of another is dropped.
    """
    usable = [
        one
        for one in answers
        if one.model == model
        and one.vector is not None
        and any(path in numbers for path in one.paths)
    ]
    if not usable:
        return None
    vectors = np.array([one.vector for one in usable], dtype=np.float32)
    pages = [[numbers[path] for path in one.paths if path in numbers] for one in usable]
    return Memory(vectors, pages), usable


def combine(
    text: Sequence[tuple[int, float]], votes: Votes, weight: float
) -> list[tuple[int, float]]:
    """Pages by their text and their votes, best first: number and score.

    Args:
        text: pages by their text alone, best first: number and score, at least DEPTH of them
            where there are as many.
        votes: of the same question.
        weight: what the most votes weigh against the best text.

    Returns:
        Every page of `text` or with a vote. One that has answered nothing is where it was. Scores
        are above 0 and fall, or stay the same, from each page to the next.
    """
    if not text:
        text = [(number, 0.0) for number in sorted(votes.shares)]
    best = text[0][1]
    least = text[min(DEPTH, len(text)) - 1][1]
    width = best - least
    total = {
        number: max(0.0, (score - least) / width) if width > 0 else 1.0 for number, score in text
    }
    total |= {number: 0.0 for number in votes.shares if number not in total}
    for number, share in votes.shares.items():
        total[number] += weight * share
    place = {number: rank for rank, (number, _) in enumerate(text)}
    moving = iter(
        sorted(
            (number for number in total if number in votes.known),
            key=lambda number: (-total[number], place.get(number, len(text)), number),
        )
    )
    staying = {rank: number for number, rank in place.items() if number not in votes.known}
    result = []
    score = float("inf")
    for rank in range(len(total)):
        number = staying[rank] if rank in staying else next(moving)
        score = min(score, max(total[number], 1e-6))
        result.append((number, score))
    return result
