"""Ranks pages and their passages by words and by meaning.

Words and vectors propose pages. Each passage of the best pages is compared with the question, and a
page is as good as its best passage.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import NamedTuple

import numpy as np

from wiki.index.calibration import Fit
from wiki.index.index import WEIGHTING, Index
from wiki.index.passages import Passage, passage_stems, passages
from wiki.index.vectors import Floats
from wiki.pages.page import Page
from wiki.search.hits import Hit, PassageHit, Why
from wiki.search.query import Sought

# The weight of a page's share of the question's words, relative to similarity.
LEXICAL = 0.75
# The same for a passage, for the square root of its share: the first matches count most.
OF_PASSAGE = 0.25
# The weight of a reading with another name, relative to the question as asked.
READING = 0.9
# If the requested wikis have at most this many pages, all are compared; otherwise the nearest ones.
FEW = 2000
# The weights of a page's three passages nearest to the question.
NEAREST = np.array([0.5, 0.3, 0.2], np.float32)
# The weights of the share of words and of the page's score, relative to a passage's similarity,
# when pages are ranked by their best passage.
OF_WORDS = 0.5
OF_PAGE = 0.5
# Maximum pages whose passages are compared.
COMPARED = 30
# The weight of the page's score, relative to a passage's similarity, when passages of several pages
# are ranked.
PAGE = 0.4
# Short passages are similar to many questions and answer few of them. This is the gain for e times
# as many distinct words, up to MANY; a passage of USUAL words neither gains nor loses.
LENGTH = 0.05
USUAL = 40
MANY = 100
# Fitted by `research.studies.ranking` on short questions to other documentations: a passage's loss
# for each e times fewer words of its own than BRIEF, not counting headings, and for each e times
# more passages on its page than LARGE, as some of many passages match by chance. On a page with
# fewer than LARGE passages it gains accordingly: at most 0.136, if it is the only one.
OF_BRIEF = 0.19
BRIEF = 30
OF_LARGE = 0.04
LARGE = 30
# Maximum passages per page in a result, best first.
TOLD = 40
# Words alone decide until this share of the pages has vectors: otherwise these pages would rank
# before better ones whose vectors are pending.
EMBEDDED = 0.9
# Maximum pages that words and vectors may each propose.
CANDIDATES = 200
# The gains for the share of the question's words in one heading, and for having all of them: the
# author of the heading had the question in mind. Applied to the first HEADED pages.
HEADING = 0.05
ALL = 0.1
HEADED = 10
# Scores are above 0, however dissimilar the page is.
LEAST = 1e-6


class QueryVector(NamedTuple):
    """The vector of a question."""

    model: str
    numbers: Floats


class _Compared(NamedTuple):
    """The passages of a page, in page order."""

    page: float
    """The score of the page."""
    score: Floats
    words: Floats
    meaning: Floats | None


class Ranking(NamedTuple):
    pages: list[tuple[int, float]]
    """Best first: number and score."""
    compared: dict[int, _Compared]
    """The passages of the first pages."""
    words: Mapping[int, float]
    meaning: Mapping[int, float]
    headings: Mapping[int, float]

    def why(self, number: int | None) -> Why | None:
        places = (place for place, (other, _) in enumerate(self.pages, 1) if other == number)
        place = next(places, None)
        if number is None or place is None:
            return None
        words, headings = self.words.get(number, 0.0), self.headings.get(number, 0.0)
        return Why(place, words, self.meaning.get(number), headings)


class _Reading(NamedTuple):
    """The words of a question in a language, or with another name in them."""

    words: Mapping[str, float]
    counts: float
    """How much it counts, relative to the question as asked."""


@dataclass(frozen=True)
class Ranker:
    """Ranks the pages of an index for one question."""

    index: Index
    sought: Sought
    other_names: Sequence[Mapping[str, float]]
    """Alternative readings of the question, with other names."""
    vector: QueryVector | None
    """None if words alone decide."""
    fitted: Fit
    """The parameters for the vector's model."""

    def ranking(self, within: Collection[int] | None) -> Ranking:
        """The candidates.

        Args:
            within: limits the result to these pages.
        """
        wordings = _in_languages(self.sought)
        wordings += [_Reading(words, READING) for words in self.other_names]
        idf = self.sought.idf
        if unknown := {stem for reading in wordings for stem in reading.words} - idf.keys():
            idf = {**idf, **self.index.idf(unknown)}
        share = self._share(wordings, idf, within)
        near = self._similarities(share, within)
        like = nearest_each(near)
        # Assume that a page without vectors is as similar as other pages with its words.
        known = [like[number] for number in share if number in like]
        usual = sum(known) / len(known) if known else 0.0
        scores = {
            number: max(share.get(number, 0.0) + like.get(number, usual), LEAST)
            for number in dict.fromkeys([*share, *like])
        }
        by_score = sorted(scores.items(), key=_best_first)
        headings = {
            number: _headed(heading_share(page, self.sought.on(page).idf))
            for number, _ in by_score[:HEADED]
            for page in [self.index.page(number)]
        }
        first = {number: score + headings.get(number, 0.0) for number, score in by_score[:COMPARED]}
        compared = self._compared(first, wordings, idf, near)
        best = [(number, of_page.page) for number, of_page in compared.items()]
        best.sort(key=_best_first)
        least = best[-1][1] if best else 0.0
        rest = [(number, min(score, least)) for number, score in by_score[COMPARED:]]
        return Ranking([*best, *rest], compared, share, like, headings)

    def with_passages(self, hits: Sequence[Hit], ranking: Ranking) -> list[Hit]:
        """Adds the best passages to the hits."""
        numbers = {id(hit): self.index.number(hit.page) for hit in hits}
        missing = {
            number: hit.score
            for hit in hits
            if (number := numbers[id(hit)]) is not None and number not in ranking.compared
        }
        compared = ranking.compared
        if missing:  # from the memory, or the reader's page
            near = self._similarities(missing, missing.keys())
            more = self._compared(missing, _in_languages(self.sought), self.sought.idf, near)
            compared = {**compared, **more}
        return [
            _with_passages(
                replace(hit, why=ranking.why(number)), compared.get(number) if number else None
            )
            for hit in hits
            for number in [numbers[id(hit)]]
        ]

    def _compared(
        self,
        pages: Mapping[int, float],
        wordings: Sequence[_Reading],
        idf: Mapping[str, float],
        near: Mapping[int, Floats],
    ) -> dict[int, _Compared]:
        """Compares the passages of pages with these scores.

        A page is as good as its best passage, by the passage's share of words, its similarity to
        the question, and a part of the page's score. Passages of several pages are ranked by
        similarity, the root of the share, their length, and the page's score.
        """
        if not pages:
            return {}
        weights = [
            {stem: weight * idf[stem] for stem, weight in reading.words.items()}
            for reading in wordings
        ]
        counts = np.array(
            [
                reading.counts / (fsum(of_reading.values()) or 1.0)
                for reading, of_reading in zip(wordings, weights, strict=True)
            ],
            np.float32,
        )
        said = self.index.passage_sums(list(pages), weights)
        # All pages at once: a dozen calls of NumPy for each page would take longer than the sums.
        sizes = [len(said[number].words) for number in pages]
        ends = np.cumsum(sizes).tolist()
        starts = [0, *ends[:-1]]
        meanings = [
            meaning if meaning is not None and len(meaning) == size else None
            for number, size in zip(pages, sizes, strict=True)
            for meaning in [near.get(number)]
        ]
        known = [near[number] for number in pages if number in near]
        usual = np.float32(np.concatenate(known).mean() if known else 0.0)
        like = np.full(ends[-1], usual, np.float32)
        for start, end, meaning in zip(starts, ends, meanings, strict=True):
            if meaning is not None:
                like[start:end] = meaning
        every = np.concatenate([said[number].weights for number in pages], axis=1)
        of_words = (every * counts[:, None]).max(axis=0)
        of_pages = np.array([OF_PAGE * score for score in pages.values()]).astype(np.float32)
        by_page = (OF_WORDS * of_words + like + np.repeat(of_pages, sizes)) / (1 + OF_PAGE)
        best = np.maximum.reduceat(by_page, starts)
        total_of = by_page
        if known:  # without similarities, length would have too much weight
            of_best = (PAGE * best.astype(np.float64)).astype(np.float32)
            share = _of_words(of_words)
            total_of = (share + like + np.repeat(of_best, sizes)) / (1 + PAGE)
            total_of += _of_length(np.concatenate([said[number].words for number in pages]))
        scores = np.maximum(total_of, LEAST)
        return {
            number: _Compared(max(of_page, LEAST), scores[start:end], of_words[start:end], meaning)
            for number, of_page, start, end, meaning in zip(
                pages, best.tolist(), starts, ends, meanings, strict=True
            )
        }

    def _share(
        self,
        wordings: Sequence[_Reading],
        idf: Mapping[str, float],
        within: Collection[int] | None,
    ) -> dict[int, float]:
        """The weighted share of words of the best pages, each in its best reading."""
        share: dict[int, float] = {}
        every = [reading.words for reading in wordings]
        matched = self.index.match_each(every, CANDIDATES, within=within)
        for reading, scored in zip(wordings, matched, strict=True):
            all_of_it = sum(weight * idf[stem] for stem, weight in reading.words.items())
            counts = reading.counts * LEXICAL / (WEIGHTING.k1 + 1)
            for number, score in scored:
                share[number] = max(share.get(number, 0.0), counts * score / all_of_it)
        return share

    def _similarities(
        self, numbers: Iterable[int], within: Collection[int] | None
    ) -> dict[int, Floats]:
        """The similarities of the passages of these pages and of the nearest pages, if they have
        vectors.

        Empty while too few pages have vectors.
        """
        vectors = self.index.vectors() if self.vector else None
        if vectors is None or self.vector is None or vectors.model != self.vector.model:
            return {}
        if vectors.embedded < EMBEDDED * self.index.size or not vectors.fits(self.vector.numbers):
            return {}
        query = self.vector.numbers
        if within is not None and len(within) <= FEW:
            similar = vectors.of(query, within)
        else:
            similar = {
                number: near
                for number, near in vectors.best(query, CANDIDATES, numbers).items()
                if within is None or number in within
            }
        if not similar:
            return {}
        ends = np.cumsum([len(near) for near in similar.values()]).tolist()
        every = self.fitted.meaning(np.concatenate(list(similar.values())))
        return {
            number: every[start:end]
            for number, start, end in zip(similar, [0, *ends], ends, strict=False)
        }


def _in_languages(sought: Sought) -> list[_Reading]:
    """The question as asked, once for each language in which its stems differ."""
    every = [spoken.words for spoken in sought.spoken]
    return [_Reading(words, 1.0) for n, words in enumerate(every) if words not in every[:n]]


def by_words(page: Page, sought: Sought) -> Hit:
    """A page that is not in the index, with its passages compared by their words."""
    spoken = sought.on(page)
    weights = {stem: weight * spoken.idf[stem] for stem, weight in spoken.words.items()}
    total = fsum(weights.values()) or 1.0
    share = np.array(
        [
            fsum(weights[stem] for stem in words & weights.keys()) / total
            for words in passage_stems(page)
        ],
        np.float32,
    )
    best = float(share.max()) * OF_WORDS
    compared = _Compared(best, np.maximum(_of_words(share), LEAST), share, None)
    return _with_passages(Hit(page, best), compared)


def _of_words(share: Floats) -> Floats:
    counted: Floats = np.sqrt(np.clip(share, 0, 1)) * np.float32(OF_PASSAGE)
    return counted


def _of_length(words: Floats) -> Floats:
    longer = np.log((1 + np.minimum(words, MANY)) / (1 + USUAL))
    return np.asarray(LENGTH * longer, np.float32)


def lost(cut: Sequence[Passage]) -> Floats:
    """The losses of a page's passages for being short, or on a large page; negative for gains on a
    small page."""
    few = np.array([min(passage.words, BRIEF) for passage in cut], np.float32)
    brief = OF_BRIEF * np.log((1 + BRIEF) / (1 + few))
    return np.asarray(brief + OF_LARGE * np.log(max(len(cut), 1) / LARGE), np.float32)


def nearest_each(near: Mapping[int, Floats], weights: Floats = NEAREST) -> dict[int, float]:
    """Each page's similarity, from its nearest passages; a page with fewer repeats its last one."""
    if not near:
        return {}
    counts = np.array([len(of_page) for of_page in near.values()])
    starts = np.cumsum(counts) - counts
    page = np.repeat(np.arange(len(counts)), counts)
    rest = np.concatenate(list(near.values()))
    nearest = np.maximum.reduceat(rest, starts)
    similarity = np.float64(weights[0]) * nearest
    for place, weight in enumerate(weights[1:], 1):
        # Remove one nearest passage of each page: sorting all of them takes ten times as long.
        at = np.flatnonzero(rest == nearest[page])
        rest[at[np.flatnonzero(np.diff(page[at], prepend=-1))]] = -np.inf
        nearest = np.where(counts > place, np.maximum.reduceat(rest, starts), nearest)
        similarity += np.float64(weight) * nearest
    return dict(zip(near, similarity.tolist(), strict=True))


def _with_passages(hit: Hit, compared: _Compared | None) -> Hit:
    if compared is None:
        return hit
    cut = passages(hit.page)
    if len(cut) != len(compared.score):
        return hit
    score = compared.score
    if compared.meaning is not None:  # as for the length
        score = np.maximum(score - lost(cut), LEAST)
    moved = hit.score - compared.page
    order = np.argsort(-score, kind="stable")[:TOLD].tolist()
    matches = tuple(
        PassageHit(
            hit.page,
            cut[n],
            float(score[n]) + moved,
            float(compared.words[n]),
            None if compared.meaning is None else float(compared.meaning[n]),
        )
        for n in order
    )
    return replace(hit, passages=matches)


def heading_share(page: Page, idf: Mapping[str, float]) -> float:
    """The highest share of the words in the title and headings above one section.

    Args:
        page: a page.
        idf: the words, as stems, with their information value.
    """
    total = fsum(idf.values())
    if not total:
        return 0.0
    wanted, of = frozenset(idf), idf.__getitem__
    return max((fsum(map(of, wanted & head)) for head in page.heads), default=0.0) / total


def _headed(share: float) -> float:
    # The power rewards having all words, or all but an insignificant one.
    return HEADING * share + ALL * share**12


def _best_first(scored: tuple[int, float]) -> tuple[float, int]:
    return -scored[1], scored[0]
