"""Fits what a passage loses for being brief and for standing on a large page, and what it gains
for having words side by side as the question has them.

    python -m research.studies.ranking --wiki DOCS=QUESTIONS.jsonl --wiki ... [--keep FOLDER]

Wikis and questions are as for `research.studies.passages`. The first passages of each question are
ranked by a softmax over their score and these features, fitted on all wikis but one and measured on
that one. The last line has the constants of `ranking` and `passage_order` in `wiki.search`,
fitted on all wikis.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.errors import AskdocsError
from eval.statistics import paired
from research.studies.passages import SHOWN, Question, holds, kept, read
from wiki.index import embed, index
from wiki.index.embed import Embedder
from wiki.index.passages import passages
from wiki.search import passage_order, ranking
from wiki.search.hits import best_passages, distinct
from wiki.search.passage_order import paired_share
from wiki.search.ranking import BRIEF, LARGE
from wiki.search.search import Search

Floats = npt.NDArray[np.float64]

# Passages to rank per question.
FIRST = 30
# Prior weight of the score, and how strongly weights are drawn to it.
SCALE = 25.0
RIDGE = 0.1
STEPS = 50


class RankedPassages(NamedTuple):
    """The first passages of a question."""

    features: Floats
    """Features (score, brief, large, pairs): [passages, 4]."""
    right: npt.NDArray[np.bool_]


def ask(search: Search, question: Question) -> RankedPassages:
    """The passages found for a question."""
    sought = search.sought(question.text)
    passages_found = distinct(best_passages(search.hits(sought)))[:FIRST]
    rows = [
        (
            hit.score,
            math.log((1 + BRIEF) / (1 + min(hit.passage.words, BRIEF))),
            math.log(len(passages(hit.page)) / LARGE),
            paired_share(sought, hit),
        )
        for hit in passages_found
    ]
    right = [holds(question, hit) for hit in passages_found]
    return RankedPassages(np.array(rows, float).reshape(-1, 4), np.array(right, bool))


def fit(questions: Sequence[RankedPassages]) -> Floats:
    """Fit the features' weights by Newton's method, maximising the softmax probability of a right
    passage."""
    size = questions[0].features.shape[1]
    start: Floats = SCALE * np.eye(size)[0]
    weights = start.copy()
    useful = [
        question for question in questions if question.right.any() and not question.right.all()
    ]
    for _ in range(STEPS):
        slope, curve = RIDGE * (start - weights), RIDGE * np.eye(size)
        for features, right in useful:
            logits = features @ weights
            drawn = np.exp(logits - logits.max())
            drawn /= drawn.sum()
            wanted = np.where(right, drawn, 0.0)
            wanted /= max(wanted.sum(), 1e-12)
            slope += (wanted - drawn) @ features
            mean = drawn @ features
            curve += (features.T * drawn) @ features - np.outer(mean, mean)
        weights = weights + np.linalg.solve(curve, slope)
    return weights


def shown(questions: Sequence[RankedPassages], weights: Floats, count: int) -> list[float]:
    """1 for each question with a right passage among the first `count`."""
    return [
        float(
            question.right[np.argsort(-(question.features @ weights), kind="stable")[:count]].any()
        )
        for question in questions
    ]


def left_out(wikis: Sequence[Sequence[RankedPassages]], count: int, size: int) -> list[float]:
    """`shown` for each wiki with its first `size` features, using weights fitted on the others."""
    wikis = [
        [RankedPassages(question.features[:, :size], question.right) for question in wiki]
        for wiki in wikis
    ]
    results = []
    for number, wiki in enumerate(wikis):
        others = [
            question
            for other, questions in enumerate(wikis)
            if other != number
            for question in questions
        ]
        results += shown(wiki, fit(others), count)
    return results


def _asked(docs: Path, questions: Path, folder: Path, embedder: Embedder) -> list[RankedPassages]:
    with closing(index.Index(kept(docs, folder, embedder))) as opened:
        search = Search(opened, embedder)
        return [ask(search, question) for question in read(questions) if question.words]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wiki", action="append", required=True, metavar="DOCS=QUESTIONS")
    parser.add_argument("--keep", type=Path, help="folder of the indexes, for the next run")
    options = parser.parse_args()
    embedder = embed.load()
    if embedder is None:
        sys.exit("ranking: the bundled embedder does not run here")
    # A score cut off at 0 is uninformative.
    ranking.OF_BRIEF = ranking.OF_LARGE = passage_order.OF_PAIRS = 0.0
    wikis = []
    with tempfile.TemporaryDirectory() as place:
        folder = options.keep or Path(place)
        for pair in options.wiki:
            docs, _, questions = pair.rpartition("=")
            try:
                wikis.append(_asked(Path(docs), Path(questions), folder, embedder))
            except AskdocsError as error:
                sys.exit(f"ranking: {error}")
    for count in SHOWN:
        of = {size: left_out(wikis, count, size) for size in (1, 3, 4)}
        for what, before, after in (("brief and large", 1, 3), ("pairs, too", 3, 4)):
            gain = paired.shares(of[after], of[before])
            print(
                f"right among the first {count}, {what}: {np.mean(of[before]):.3f} ->"
                f" {np.mean(of[after]):.3f}, {gain.value:+.3f} ({gain.low:+.3f} to"
                f" {gain.high:+.3f}), {len(of[after])} questions"
            )
    scale, brief, large, pairs = fit([question for wiki in wikis for question in wiki])
    print(
        f"OF_BRIEF = {-brief / scale:.3f}, OF_LARGE = {-large / scale:.3f},"
        f" OF_PAIRS = {pairs / scale:.3f}"
    )


if __name__ == "__main__":
    main()
