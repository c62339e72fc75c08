"""Measures on the wiki's own answers whether the answered-question memory helps.

Asks a sample of the answered questions again, as if they and near-duplicates had never been
answered. The memory is enabled if votes bring more of these questions to their page than no votes,
and than votes for the most popular pages, each by a statistically significant margin.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from gateway.knowledge.search import memory
from gateway.knowledge.search.memory import Places, combine
from gateway.knowledge.search.rows import StoredAnswer
from gateway.knowledge.search.vectors import Floats

# The ranks that count as a hit; the mean of both is optimised.
AT = (1, 5)
# Candidate weights of the votes; 0 is off.
WEIGHTS = (0.5, 1.0, 2.0, 3.0)
# Questions above this similarity count as duplicates.
SAME = 0.9
# Maximum questions to ask again: enough to detect a gain of .03.
ASKED = 600
# Standard errors by which the gain must exceed 0. Of 80 randomly assigned sets of answers, one
# passed at 2.4, as the weight is the best of four, and none at 3.
MARGIN = 3.0
# Minimum answers for a result.
FEWEST = 30
# Rows of the similarity matrix to hold in memory at a time.
BLOCK = 1000

Rank = Callable[[str, Floats], Sequence[tuple[int, float]]]
"""Ranks pages by text alone for a question and its vector: numbers and scores, best first."""


@dataclass(frozen=True)
class Calibration:
    """The measurements, and the resulting weight."""

    weight: float
    """The votes' weight; 0 if the memory is off."""
    model: str
    """The embedding model of the questions."""
    answers: int
    """The answers that can vote."""
    pages: int
    """The pages that they vote for."""
    asked: int
    """The number of questions asked again."""
    text: dict[str, float]
    """The share of questions with their page at rank "1" and in the top "5", by text alone."""
    votes: dict[str, float]
    """The same with the best weight, whether or not it is sufficient."""
    surely: float
    """The lower bound of the mean gain; above 0 if the memory is on. The gain is over the text, or
    over the text with popularity votes if that is less."""
    digest: str
    """The digest of the measured answers."""
    when: str

    @property
    def is_on(self) -> bool:
        return self.weight > 0

    def dump(self) -> str:
        return json.dumps(asdict(self))


def load(stored: str | None) -> Calibration | None:
    """Reads the output of `dump`; None if there is none, or its format is of another version."""
    try:
        return Calibration(**json.loads(stored)) if stored else None
    except (TypeError, ValueError):
        return None


def calibrate(
    answers: Sequence[StoredAnswer],
    numbers: Mapping[str, int],
    model: str,
    rank: Rank,
    now: datetime,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Measure the memory of `answers`. The result depends only on the arguments.

    Args:
        answers: all stored answers.
        numbers: the number of every page of the wiki, by path.
        model: the embedding model of the questions.
        rank: ranks pages without the memory.
        now: recorded in the result.
        progress: receives the number of questions asked again, and their total.
    """
    votable = memory.usable(answers, numbers, model)
    ranks = np.zeros((0, 3, len(WEIGHTS)), np.int64)
    if len(votable) >= FEWEST:
        ranks = _ranks(votable, numbers, rank, progress)
    sampled = len(ranks)
    best, surely = 0, 0.0
    if sampled:
        text, popular, votes = np.moveaxis(np.mean([ranks < at for at in AT], axis=0), 1, 0)
        best = int(np.argmax(votes.mean(axis=0)))
        surely = min(_sure(votes[:, best] - other[:, best]) for other in (text, popular))
    return Calibration(
        weight=WEIGHTS[best] if surely > 0 else 0.0,
        model=model,
        answers=len(votable),
        pages=len({path for answer in votable for path in answer.paths}),
        asked=sampled,
        text=_shares(ranks[:, 0, best]),
        votes=_shares(ranks[:, 2, best]),
        surely=round(surely, 4),
        digest=digest(answers),
        when=now.isoformat(timespec="seconds"),
    )


def digest(answers: Sequence[StoredAnswer]) -> str:
    """Identifies the answers that were measured."""
    sha = hashlib.sha256()
    for answer in sorted(answers, key=lambda answer: answer.id):
        sha.update(repr((answer.id, answer.paths, answer.model)).encode())
    return sha.hexdigest()[:16]


def _sure(gains: npt.NDArray[np.float64]) -> float:
    """The lower bound of the mean."""
    return float(gains.mean() - MARGIN * gains.std() / np.sqrt(len(gains)))


def _shares(ranks: Places) -> dict[str, float]:
    return {str(at): round(float((ranks < at).mean()), 4) if len(ranks) else 0.0 for at in AT}


def _ranks(
    answers: Sequence[StoredAnswer],
    numbers: Mapping[str, int],
    rank: Rank,
    progress: Callable[[int, int], None],
) -> Places:
    """The rank, from 0, of the first page that answered, for a sample of the questions: by text
    alone, with popularity and with votes, for each weight, [asked, 3, len(WEIGHTS)]."""
    vectors = np.array([answer.vector for answer in answers], np.float32)
    clusters = _clusters(vectors)
    remembered = memory.of_answers(answers, numbers)
    # A fixed random order, with one question per cluster, so that they are independent.
    order = sorted(
        range(len(answers)), key=lambda n: hashlib.sha256(answers[n].id.encode()).digest()
    )
    _, first = np.unique(clusters[order], return_index=True)
    sample = [order[n] for n in np.sort(first)[:ASKED]]
    result = np.zeros((len(sample), 3, len(WEIGHTS)), np.int64)
    for row, place in enumerate(sample):
        gold = {numbers[path] for path in answers[place].paths}
        text = rank(answers[place].question, vectors[place])
        same = np.flatnonzero(clusters == clusters[place])
        result[row, 0] = _place(text, gold)
        for kind, votes in enumerate(
            (remembered.popularity(same), remembered.votes(vectors[place], same)), 1
        ):
            for column, weight in enumerate(WEIGHTS):
                result[row, kind, column] = _place(combine(text, votes, weight), gold)
        progress(row + 1, len(sample))
    return result


def _place(ranked: Sequence[tuple[int, float]], gold: set[int]) -> int:
    return next((n for n, (number, _) in enumerate(ranked[: max(AT)]) if number in gold), max(AT))


def _clusters(vectors: Floats) -> Places:
    """The cluster of each question: the first question that it is similar to, directly or through
    others, [n]."""
    labels = np.arange(len(vectors))
    pairs = []
    for start in range(0, len(vectors), BLOCK):
        same = np.argwhere(vectors[start : start + BLOCK] @ vectors.T > SAME)
        same[:, 0] += start
        pairs.append(same)
    left, right = np.concatenate(pairs).T
    while True:
        before = labels.copy()
        np.minimum.at(labels, left, labels[right])
        if np.array_equal(before, labels):
            return labels
