"""Measures on the wiki's own answers whether the answered-question memory helps.

Each of a sample of the answered questions is asked again, as if it and all questions that are
nearly the same had never been answered. The memory is on when more of them then find their page
with votes than without, and than with votes for whatever pages answer most often, each by a margin
that is not chance.
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

# Where a page must be found to count; the mean of both is what is made better.
AT = (1, 5)
# What votes may weigh; 0 is off.
WEIGHTS = (0.5, 1.0, 2.0, 3.0)
# Questions this similar count as the same one.
SAME = 0.9
# Questions that are asked again, at most: enough to tell a gain of .03 from chance.
ASKED = 600
# Standard errors that the gain must be above 0. Of 80 sets of answers that were dealt out by chance
# 2.4 let one pass, as the weight is the best of four, and 3 none.
MARGIN = 3.0
# Fewer answers tell nothing.
FEWEST = 30
# Rows of the matrix of similarities that are held in memory at a time.
BLOCK = 1000

Rank = Callable[[str, Floats], Sequence[tuple[int, float]]]
"""Pages by their text alone, best first, for a question and its vector: number and score."""


@dataclass(frozen=True)
class Calibration:
    """What was measured, and what follows."""

    weight: float
    """Of the votes; 0 where the memory is off."""
    model: str
    """That embeds the questions."""
    answers: int
    """That can vote."""
    pages: int
    """That they vote for."""
    asked: int
    """Questions that were asked again."""
    text: dict[str, float]
    """The share of them with their page at "1" and among the first "5", by the text alone."""
    votes: dict[str, float]
    """The same with the best weight, whether or not it was good enough."""
    surely: float
    """The gain, as the mean of both, that is not chance; above 0 where the memory is on. Over the
    text, or over the text with votes for popular pages if that is less."""
    digest: str
    """Of the answers that were measured."""
    when: str

    @property
    def is_on(self) -> bool:
        return self.weight > 0

    def dump(self) -> str:
        return json.dumps(asdict(self))


def load(stored: str | None) -> Calibration | None:
    """What `dump` wrote; None where nothing was, or by an askdocs that measured otherwise."""
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
    """Measure the memory of `answers`. The outcome depends on nothing but the arguments.

    Args:
        answers: all that are stored.
        numbers: of every page of the wiki, by path.
        model: that embeds the questions.
        rank: ranks pages without the memory.
        now: is noted.
        progress: told how many questions have been asked again, and of how many.
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
    """Tells whether answers are the ones that were measured."""
    sha = hashlib.sha256()
    for answer in sorted(answers, key=lambda answer: answer.id):
        sha.update(repr((answer.id, answer.paths, answer.model)).encode())
    return sha.hexdigest()[:16]


def _sure(gains: npt.NDArray[np.float64]) -> float:
    """What of the mean is not chance."""
    return float(gains.mean() - MARGIN * gains.std() / np.sqrt(len(gains)))


def _shares(ranks: Places) -> dict[str, float]:
    return {str(at): round(float((ranks < at).mean()), 4) if len(ranks) else 0.0 for at in AT}


def _ranks(
    answers: Sequence[StoredAnswer],
    numbers: Mapping[str, int],
    rank: Rank,
    progress: Callable[[int, int], None],
) -> Places:
    """The place of the first page that answered, from 0, for a sample of the questions: by the
    text alone, with popularity and with votes, for each weight, [asked, 3, len(WEIGHTS)]."""
    vectors = np.array([answer.vector for answer in answers], np.float32)
    clusters = _clusters(vectors)
    remembered = memory.of_answers(answers, numbers)
    # In an order of chance that is always the same; and one question of each cluster, so that they
    # are independent.
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
    """Of each question the first one that it is nearly the same as, directly or by others between
    them, [n]."""
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
