"""The answered-question memory: answered questions vote for the pages that answered them.

A page that has answered nothing yet cannot get a vote, and would sink below every page that can.
So it stays exactly where its text puts it, and only the others change places among themselves.
How much votes weigh, and whether they count at all, is measured on the wiki's own answers, see
`gateway.knowledge.search.calibration`.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.knowledge.search.rows import StoredAnswer
from gateway.knowledge.search.vectors import Floats

# The answered questions that vote. All numbers here were chosen by leaving out one cluster of the
# 1,439 answers of a support wiki at a time, see docs/results/notebook.md, "The answered-question
# memory".
NEIGHBOURS = 60
# Whitening: how much noise the directions are taken to have in which questions hardly differ, as a
# multiple of the usual spread.
NOISE = 2.0
# By which power of a page's answers its votes are divided. Pages with 3 to 9 answers had .04 less
# recall@5 with the memory than without; with this no less, and all pages together no less either.
RARE = 0.15
# Text scores are told apart down to this place; below it only votes lift a page.
DEPTH = 50

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Votes:
    """The memory's votes for a question."""

    shares: Mapping[int, float]
    """By page, as a share of the votes for the first: above 0, and 1 for the first."""
    known: AbstractSet[int]
    """The pages that have answered something: those that could have got votes."""


class AnswerMemory:
    """Answered questions, near which a new one is looked up. Safe to use from several threads."""

    def __init__(self, vectors: Floats, pages: Sequence[Sequence[int]]) -> None:
        """Of n answered questions, n > 0: their vectors [n, d], and the numbers of their pages."""
        self.size = len(pages)
        self._pages = [tuple(dict.fromkeys(numbers)) for numbers in pages]
        self._counts: dict[int, int] = {}
        for numbers in self._pages:
            for number in numbers:
                self._counts[number] = self._counts.get(number, 0) + 1
        # What all questions of a wiki have in common (its product's name, for one) says nothing
        # about the page, and is taken out. Without it recall@5 is .025 lower.
        self._mean = vectors.mean(axis=0)
        centred = vectors - self._mean
        spread, axes = np.linalg.eigh(centred.T @ centred / self.size)
        spread = np.maximum(spread, 0)
        scale = np.sqrt(spread + NOISE * spread.mean() + 1e-12)
        self._axes: Floats = (axes / scale).astype(np.float32)
        self._questions = self._whitened(vectors)

    def votes(self, vector: Floats, without: Places | None = None) -> Votes:
        """The votes for a question.

        Args:
            vector: of the question, [d].
            without: places of answers that count as if they had never been given.
        """
        nearness = np.vecdot(self._questions, self._whitened(vector[None])[0])
        if without is not None:
            nearness[without] = 0
        near = np.arange(self.size)
        if self.size > NEIGHBOURS:
            near = np.sort(np.argpartition(-nearness, NEIGHBOURS)[:NEIGHBOURS])
        counted: dict[int, float] = {}
        for place in near:
            # Two questions taken at random have a nearness of about 0.
            if (weight := float(nearness[place])) > 0:
                for number in self._pages[place]:
                    counted[number] = counted.get(number, 0.0) + weight * weight
        given = self._counts if without is None else self._left(without)
        fair = {number: count / (given[number] + 3) ** RARE for number, count in counted.items()}
        return _shared(fair, given.keys())

    def popularity(self, without: Places) -> Votes:
        """What the votes would be if every answered question had one, whatever is asked."""
        left = self._left(without)
        return _shared(left, left.keys())

    def _left(self, without: Places) -> dict[int, int]:
        """How often each page has answered, but for the answers at these places."""
        left = dict(self._counts)
        for place in without:
            for number in self._pages[place]:
                left[number] -= 1
                if not left[number]:
                    del left[number]
        return left

    def _whitened(self, vectors: Floats) -> Floats:
        moved = (vectors - self._mean) @ self._axes
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.maximum(length, 1e-9), np.float32)


def _shared(counted: Mapping[int, float], known: AbstractSet[int]) -> Votes:
    most = max(counted.values(), default=1.0)
    return Votes({number: count / most for number, count in counted.items()}, known)


def usable(
    answers: Sequence[StoredAnswer], numbers: Mapping[str, int], model: str
) -> list[StoredAnswer]:
    """The answers that can vote, each with only those of its pages that the wiki has.

    Args:
        answers: all that are stored.
        numbers: of every page of the wiki, by path.
        model: that embeds the questions to come; vectors of others do not compare with them.
    """
    fitting = []
    for answer in answers:
        paths = tuple(path for path in answer.paths if path in numbers)
        if paths and answer.model == model and answer.vector is not None:
            fitting.append(
                StoredAnswer(answer.id, answer.question, paths, answer.model, answer.vector)
            )
    return fitting


def of_answers(answers: Sequence[StoredAnswer], numbers: Mapping[str, int]) -> AnswerMemory:
    """The memory of `usable` answers, at least one."""
    vectors = np.array([answer.vector for answer in answers], dtype=np.float32)
    return AnswerMemory(vectors, [[numbers[path] for path in answer.paths] for answer in answers])


def combine(
    text: Sequence[tuple[int, float]], votes: Votes, weight: float
) -> list[tuple[int, float]]:
    """Pages by their text and their votes, best first: number and score.

    Args:
        text: pages by their text alone, best first: number and score above 0, at least DEPTH of
            them where there are as many.
        votes: of the same question.
        weight: what the most votes weigh against the best text.

    Returns:
        Every page of `text` or with a vote. One that has answered nothing is where it was. The
        scores are those of the places: how well the wiki answers the question at all is what the
        text says, votes only say by which page.
    """
    if not text:
        return []
    best, least = text[0][1], text[min(DEPTH, len(text)) - 1][1]
    width = max(best - least, 1e-9)
    total = {number: max(0.0, (score - least) / width) for number, score in text}
    for number, share in votes.shares.items():
        total[number] = total.get(number, 0.0) + weight * share
    # In the order of the text where the totals are the same: sorting is stable.
    moving = iter(
        sorted((page for page in total if page in votes.known), key=lambda page: -total[page])
    )
    scores = [score for _, score in text]
    result = []
    for rank in range(len(total)):
        stays = rank < len(text) and text[rank][0] not in votes.known
        number = text[rank][0] if stays else next(moving)
        result.append((number, scores[min(rank, len(text) - 1)]))
    return result
