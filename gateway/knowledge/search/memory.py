"""The answered-question memory: answered questions vote for the pages that answered them.

A page that has answered nothing yet cannot get a vote, and would sink below every page that can. So
it keeps the rank that its text gives it, and only the other pages are reordered. The votes' weight,
and whether they count at all, is measured on the wiki's own answers, see
`gateway.knowledge.search.calibration`.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.knowledge.search.rows import StoredAnswer
from gateway.knowledge.search.vectors import Floats

# The number of answered questions that vote. The parameters here were chosen by leaving out one
# cluster of a support wiki's 1,439 answers at a time, see docs/results/notebook.md, "The
# answered-question memory".
NEIGHBOURS = 60
# Whitening: the assumed noise in directions in which questions hardly differ, as a multiple of the
# mean variance.
NOISE = 2.0
# The power of a page's number of answers by which its votes are divided. Without it, recall@5 of
# pages with 3 to 9 answers was .04 lower with the memory than without it; with it, recall is no
# lower, for these pages and for all.
RARE = 0.15
# Text scores are distinguished down to this rank; below it, only votes lift a page.
DEPTH = 50

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Votes:
    """The memory's votes for a question."""

    shares: Mapping[int, float]
    """Each page's votes relative to the first page's: above 0, and 1 for the first."""
    known: AbstractSet[int]
    """The pages that have answered something, and could have got votes."""


class AnswerMemory:
    """Answered questions, searched for those near a new question. Safe to use from several
    threads."""

    def __init__(self, vectors: Floats, pages: Sequence[Sequence[int]]) -> None:
        """Takes n > 0 answered questions: their vectors [n, d], and the numbers of their pages."""
        self.size = len(pages)
        self._pages = [tuple(dict.fromkeys(numbers)) for numbers in pages]
        self._counts: dict[int, int] = {}
        for numbers in self._pages:
            for number in numbers:
                self._counts[number] = self._counts.get(number, 0) + 1
        # Remove the component that all questions of a wiki share (its product's name, for example),
        # which says nothing about the page. Otherwise recall@5 is .025 lower.
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
            vector: the question's vector, [d].
            without: indices of answers to ignore, as if they had never been given.
        """
        nearness = np.vecdot(self._questions, self._whitened(vector[None])[0])
        if without is not None:
            nearness[without] = 0
        near = np.arange(self.size)
        if self.size > NEIGHBOURS:
            near = np.sort(np.argpartition(-nearness, NEIGHBOURS)[:NEIGHBOURS])
        counted: dict[int, float] = {}
        for place in near:
            # Two random questions have a nearness of about 0.
            if (weight := float(nearness[place])) > 0:
                for number in self._pages[place]:
                    counted[number] = counted.get(number, 0.0) + weight * weight
        given = self._counts if without is None else self._left(without)
        fair = {number: count / (given[number] + 3) ** RARE for number, count in counted.items()}
        return _shared(fair, given.keys())

    def popularity(self, without: Places) -> Votes:
        """The votes if every answered question had one, whatever the question."""
        left = self._left(without)
        return _shared(left, left.keys())

    def _left(self, without: Places) -> dict[int, int]:
        """How often each page has answered, without the answers at these indices."""
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
    """The answers that can vote, limited to pages that the wiki has.

    Args:
        answers: all stored answers.
        numbers: the number of every page of the wiki, by path.
        model: the embedding model of new questions; other models' vectors are not comparable.
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
    """Builds the memory of one or more `usable` answers."""
    vectors = np.array([answer.vector for answer in answers], dtype=np.float32)
    return AnswerMemory(vectors, [[numbers[path] for path in answer.paths] for answer in answers])


def combine(
    text: Sequence[tuple[int, float]], votes: Votes, weight: float
) -> list[tuple[int, float]]:
    """Ranks pages by their text and their votes, best first: number and score.

    Args:
        text: pages by their text alone, best first: number and score above 0, at least DEPTH of
            them if there are that many.
        votes: the same question's votes.
        weight: the weight of the most votes, relative to the best text score.

    Returns:
        All pages in `text` or with votes. Pages that have answered nothing keep their rank. Scores
        belong to ranks: the text decides how well the wiki answers the question, votes only
        decide by which page.
    """
    if not text:
        return []
    best, least = text[0][1], text[min(DEPTH, len(text)) - 1][1]
    width = max(best - least, 1e-9)
    total = {number: max(0.0, (score - least) / width) for number, score in text}
    for number, share in votes.shares.items():
        total[number] = total.get(number, 0.0) + weight * share
    # Ties keep the order of the text: sorting is stable.
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
