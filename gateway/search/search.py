"""Finds the passages for a question: by its words and by its meaning, near where the reader is.

Words and vectors propose pages. Of the best of them each passage is compared with the question, and
a page is as good as its best passage.
"""

import copy
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import NamedTuple, Self
from urllib.parse import urldefrag, urljoin

import numpy as np

from gateway.search.asked import asked
from gateway.search.embed import Embedder
from gateway.search.glossary import readings
from gateway.search.index import WEIGHTING, Index
from gateway.search.passages import Passage, passages, said
from gateway.search.remembered import Remembered
from gateway.search.spelling import corrected
from gateway.search.vectors import Floats
from gateway.wiki.page import Page
from gateway.wiki.words import words

# What the share of the question's words counts beside the similarity. Measured, with what was tried
# else: docs/results.md, "Finding the page".
LEXICAL = 0.75
# What a question counts that is read with another name for what it names.
READING = 0.9
# So many pages of the wikis that are asked are compared one by one; of more, the nearest of all.
FEW = 2000
# Of the three passages of a page that are nearest to the question.
NEAREST = np.array([0.5, 0.3, 0.2], np.float32)
# What the share of the words that a passage has counts beside its similarity.
OF_PASSAGE = 0.5
# What the page counts beside a passage of it, and the pages whose passages are compared.
PAGE = 0.5
COMPARED = 30
# Passages of a page that are told, the best ones.
TOLD = 40
# Pages that each of the two ways may propose.
CANDIDATES = 200
# Pages that may come up because they are near to where the reader is.
NEAR = 50
# What is added for the share of the question's words that one heading has, and for having all of
# them: who wrote the heading had the question in mind. Of the first so many pages.
HEADING = 0.05
ALL = 0.1
HEADED = 10
# A score is above 0, however unlike the page is.
LEAST = 1e-6
# How much more the page counts that the reader is on, and those that it links to or that lie in the
# same folder. More would take the first place from pages that answer better.
CURRENT_PAGE = 1.15
NEIGHBOUR = 1.05
# "How do I configure this?" points at the current page, whatever else its few words match.
_POINTERS = frozenset(("this", "here", "these"))
_LINK = re.compile(r"\]\(\s*<?([^)>\s]+)")


@dataclass(frozen=True)
class Found:
    """A passage that was found."""

    page: Page
    passage: Passage
    score: float
    """Of the best passage of a page it is the page's; others compare with those of all pages."""
    words: float
    """The share of the question's words that it has, 0 to 1."""
    meaning: float | None
    """The cosine of the question and it; None where it has no vector (yet)."""

    @property
    def url(self) -> str:
        anchor = self.passage.anchor
        return f"{self.page.url}#{anchor}" if anchor else self.page.url


@dataclass(frozen=True)
class Why:
    """Why a page was found."""

    place: int
    """By its text alone, from 1; answered questions and the reader's page may move it."""
    words: float
    """The share of the question's words, as a part of the page's score."""
    meaning: float | None
    """How like the question its nearest passages are; None without vectors."""
    headings: float
    """What it gained by its headings."""


@dataclass(frozen=True)
class Hit:
    """A page that was found."""

    page: Page
    score: float
    """Above 0, about 1 for a page that answers a short question in its own words. How much less
    another page has tells how much less likely it is."""
    passages: tuple[Found, ...] = ()
    """Its best passages, best first."""
    why: Why | None = None
    """None for a page that neither words nor meaning found."""


def best_passages(hits: Iterable[Hit]) -> list[Found]:
    """The passages of all pages that were found, best first."""
    return sorted((found for hit in hits for found in hit.passages), key=lambda found: -found.score)


class _Compared(NamedTuple):
    """The passages of a page, in its order."""

    score: Floats
    words: Floats
    meaning: Floats | None


class _Ranking(NamedTuple):
    pages: list[tuple[int, float]]
    """Best first: number and score."""
    compared: dict[int, _Compared]
    """Of the first of them."""
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


@dataclass(frozen=True)
class Sought:
    """A question as this wiki is searched for it."""

    question: str
    """As a person wrote it."""
    words: Mapping[str, float]
    """The stems of its content words, spelt as the wiki does, and how much each counts."""
    idf: Mapping[str, float]
    """How much each of them says, see `Index.idf`."""
    text: str
    """What is embedded: the question, with those before it that it goes on from."""


class Search:
    """Searches an index. Safe to use from any thread."""

    def __init__(self, index: Index, embedder: Embedder | None) -> None:
        """Without an embedder, or where the index has no vectors yet, words alone decide."""
        self.index = index
        self.embedder = embedder
        self._remembered = Remembered(index, embedder.model) if embedder else None

    def over(self, index: Index) -> Self:
        """The same search of what one reader may see of the index."""
        mine = copy.copy(self)
        mine.index = index
        mine._remembered = Remembered(index, self.embedder.model) if self.embedder else None
        return mine

    def find(
        self,
        question: str,
        page_url: str | None = None,
        limit: int = 5,
        history: Sequence[str] = (),
    ) -> list[Hit]:
        """The pages for a question, best first: see `sought` and `hits`."""
        return self.hits(self.sought(question, history), page_url, limit)

    def sought(self, question: str, history: Sequence[str] = ()) -> Sought:
        """What is searched for.

        Args:
            question: as a person wrote it.
            history: the questions that the reader asked before, oldest first.
        """
        found = asked(question, history)
        words = corrected(found.words, found.spelt, self.index.idf)
        return Sought(question, words, self.index.idf(words), found.text)

    def hits(
        self,
        sought: Sought,
        page_url: str | None = None,
        limit: int = 5,
        sources: Sequence[str] = (),
    ) -> list[Hit]:
        """The pages, best first.

        Args:
            sought: what is searched for.
            page_url: address of the page that the reader is on, if it is one of the wiki's. It and
                its neighbours are moved up, and it is the answer where nothing else matches.
            limit: the most hits returned.
            sources: names of the wikis whose pages may be found; of all of them when empty.
        """
        vector = self.embedder.embed([sought.text])[0] if self.embedder and sought.words else None
        with self.index.snapshot():
            within = self.index.of(sources) if sources else None
            ranking = self._ranking(sought, vector, within)
            ranked: Sequence[tuple[int, float]] = ranking.pages
            if self._remembered is not None and vector is not None:
                ranked = self._remembered.ranked(ranked, vector)
            current = self.index.by_url(page_url) if page_url else None
            if within is not None:  # pages of other wikis may have been remembered
                ranked = [scored for scored in ranked if scored[0] in within]
                if current is not None and self.index.number(current) not in within:
                    current = None
            if current is None:
                hits = [Hit(self.index.page(number), score) for number, score in ranked[:limit]]
                return self._with_passages(hits, sought, vector, ranking)
            # A page further down would not come up among the first.
            here = self.index.number(current)
            near = [
                scored
                for place, scored in enumerate(ranked)
                if place < max(limit, NEAR) or scored[0] == here
            ]
            hits = [Hit(self.index.page(number), score) for number, score in near]
            hits = _moved_up(hits, current)
            few = len(sought.words) <= 2
            if not hits or (few and not _POINTERS.isdisjoint(words(sought.question))):
                others = [hit for hit in hits if hit.page.path != current.path]
                hits = [Hit(current, hits[0].score if hits else LEAST), *others]
            return self._with_passages(hits[:limit], sought, vector, ranking)

    def of(self, sought: Sought, pages: Sequence[Page]) -> list[Hit]:
        """These pages with their best passages, in this order; they need not be of the index."""
        vector = self.embedder.embed([sought.text])[0] if self.embedder and sought.words else None
        with self.index.snapshot():
            ranking = self._ranking(sought, vector, None)
            scores = dict(ranking.pages)
            hits = []
            for page in pages:
                number = self.index.number(page)
                if number is None:
                    compared = _by_words(page, sought)
                    hits.append(_with_passages(Hit(page, float(compared.score.max())), compared))
                else:
                    hit = Hit(page, scores.get(number, LEAST))
                    hits += self._with_passages([hit], sought, vector, ranking)
        return hits

    def ranked(
        self, sought: Sought, vector: Floats | None, within: Collection[int] | None = None
    ) -> list[tuple[int, float]]:
        """The candidates by their text, best first: number and score.

        Args:
            sought: what is searched for.
            vector: of its text, [384]; None where it cannot be had.
            within: only of these pages.
        """
        return self._ranking(sought, vector, within).pages

    def _ranking(
        self, sought: Sought, vector: Floats | None, within: Collection[int] | None
    ) -> _Ranking:
        others = readings(sought.words, self.index.meanings(sought.text))
        wordings = [sought.words, *others]
        idf = sought.idf
        if unknown := {stem for reading in wordings for stem in reading} - idf.keys():
            idf = {**idf, **self.index.idf(unknown)}
        share = self._share(wordings, idf, within)
        near = self._similarities(vector, share, within) if vector is not None else {}
        like = {number: nearest_of(of_page) for number, of_page in near.items()}
        # A page whose vectors are not there yet is taken to be like the others with its words.
        known = [like[number] for number in share if number in like]
        usual = sum(known) / len(known) if known else 0.0
        scores = {
            number: max(share.get(number, 0.0) + like.get(number, usual), LEAST)
            for number in dict.fromkeys([*share, *like])
        }
        found = sorted(scores.items(), key=_best_first)
        headings = {
            number: _headed(heading_share(self.index.page(number), sought.idf))
            for number, _ in found[:HEADED]
        }
        first = {number: score + headings.get(number, 0.0) for number, score in found[:COMPARED]}
        compared = self._compared(first, wordings, idf, near)
        best = [(number, float(of_page.score.max())) for number, of_page in compared.items()]
        best.sort(key=_best_first)
        least = best[-1][1] if best else 0.0
        rest = [(number, min(score, least)) for number, score in found[COMPARED:]]
        return _Ranking([*best, *rest], compared, share, like, headings)

    def _compared(
        self,
        pages: Mapping[int, float],
        wordings: Sequence[Mapping[str, float]],
        idf: Mapping[str, float],
        near: Mapping[int, Floats],
    ) -> dict[int, _Compared]:
        """The passages of pages with these scores.

        A passage's score is the share of the words that it has, how like the question it is, and
        half of what its page has.
        """
        share: dict[int, Floats] = {}
        for place, reading in enumerate(wordings):
            weights = {stem: weight * idf[stem] for stem, weight in reading.items()}
            total = fsum(weights.values()) or 1.0
            counts = (READING if place else 1.0) / total
            for number, of_page in self.index.passage_sums(list(pages), weights).items():
                counted = of_page * np.float32(counts)
                share[number] = np.maximum(share[number], counted) if place else counted
        known = [near[number] for number in pages if number in near]
        usual = np.float32(np.concatenate(known).mean() if known else 0.0)
        found = {}
        for number, score in pages.items():
            of_words = share[number]
            meaning = near.get(number)
            if meaning is not None and len(meaning) != len(of_words):
                meaning = None
            like = usual if meaning is None else meaning
            total_of = (OF_PASSAGE * of_words + like + PAGE * score) / (1 + PAGE)
            found[number] = _Compared(np.maximum(total_of, LEAST), of_words, meaning)
        return found

    def _with_passages(
        self, hits: Sequence[Hit], sought: Sought, vector: Floats | None, ranking: _Ranking
    ) -> list[Hit]:
        """The hits with their best passages."""
        numbers = {id(hit): self.index.number(hit.page) for hit in hits}
        missing = {
            number: hit.score
            for hit in hits
            if (number := numbers[id(hit)]) is not None and number not in ranking.compared
        }
        compared = ranking.compared
        if missing:  # remembered, or the page that the reader is on
            near = self._similarities(vector, missing, missing.keys()) if vector is not None else {}
            compared = {**compared, **self._compared(missing, [sought.words], sought.idf, near)}
        return [
            _with_passages(
                replace(hit, why=ranking.why(number)), compared.get(number) if number else None
            )
            for hit in hits
            for number in [numbers[id(hit)]]
        ]

    def _share(
        self,
        readings: Sequence[Mapping[str, float]],
        idf: Mapping[str, float],
        within: Collection[int] | None,
    ) -> dict[int, float]:
        """The weighted share of the words that a page has, of the pages with the most, in the
        reading of which it has most. The first reading is the question as it was asked."""
        share: dict[int, float] = {}
        matched = self.index.match_each(readings, CANDIDATES, within=within)
        for place, (reading, found) in enumerate(zip(readings, matched, strict=True)):
            all_of_it = sum(weight * idf[stem] for stem, weight in reading.items())
            counts = (READING if place else 1.0) * LEXICAL / (WEIGHTING.k1 + 1)
            for number, score in found:
                share[number] = max(share.get(number, 0.0), counts * score / all_of_it)
        return share

    def _similarities(
        self, vector: Floats, numbers: Iterable[int], within: Collection[int] | None
    ) -> dict[int, Floats]:
        """Of the passages of these pages and of the nearest ones, as far as they have vectors."""
        vectors = self.index.vectors()
        if vectors is None or self.embedder is None or vectors.model != self.embedder.model:
            return {}
        if within is not None and len(within) <= FEW:
            return vectors.of(vector, within)
        found = {
            number: near
            for number, near in vectors.best(vector, CANDIDATES).items()
            if within is None or number in within
        }
        return found | vectors.of(vector, [number for number in numbers if number not in found])


def _by_words(page: Page, sought: Sought) -> _Compared:
    """The passages of a page that no index has."""
    weights = {stem: weight * sought.idf[stem] for stem, weight in sought.words.items()}
    total = fsum(weights.values()) or 1.0
    share = np.array(
        [fsum(weights[stem] for stem in words & weights.keys()) / total for words in said(page)],
        np.float32,
    )
    return _Compared(np.maximum(OF_PASSAGE * share, LEAST), share, None)


def nearest_of(similarities: Floats, weights: Floats = NEAREST) -> float:
    """How like a page is, by its nearest passages; of a shorter page the last counts again."""
    count = len(weights)
    nearest = similarities
    if len(similarities) > count:
        nearest = np.partition(similarities, len(similarities) - count)[-count:]
    best = sorted(nearest.tolist(), reverse=True)
    best += best[-1:] * (count - len(best))
    return fsum(weight * near for weight, near in zip(weights.tolist(), best, strict=True))


def _with_passages(hit: Hit, compared: _Compared | None) -> Hit:
    if compared is None:
        return hit
    cut = passages(hit.page)
    if len(cut) != len(compared.score):
        return hit
    score = compared.score
    moved = hit.score - float(score.max())
    order = np.argsort(-score, kind="stable")[:TOLD].tolist()
    found = tuple(
        Found(
            hit.page,
            cut[n],
            float(score[n]) + moved,
            float(compared.words[n]),
            None if compared.meaning is None else float(compared.meaning[n]),
        )
        for n in order
    )
    return replace(hit, passages=found)


def heading_share(page: Page, idf: Mapping[str, float]) -> float:
    """The share of the words that the title and the headings above one section have at most.

    Args:
        page: a page.
        idf: the words, as stems, and how much each says.
    """
    total = fsum(idf.values())
    if not total:
        return 0.0
    wanted, of = frozenset(idf), idf.__getitem__
    return max((fsum(map(of, wanted & head)) for head in page.heads), default=0.0) / total


def _headed(share: float) -> float:
    # All of them, or all but one that says very little.
    return HEADING * share + ALL * share**12


def _best_first(scored: tuple[int, float]) -> tuple[float, int]:
    return -scored[1], scored[0]


def _moved_up(hits: list[Hit], current: Page) -> list[Hit]:
    linked = set(_linked(current))
    folder = current.path.rpartition("/")[0]

    def moved(hit: Hit) -> Hit:
        if hit.page.path == current.path:
            return Hit(hit.page, hit.score * CURRENT_PAGE)
        beside = folder and hit.page.path.rpartition("/")[0] == folder
        near = beside or _bare(hit.page.url) in linked
        return Hit(hit.page, hit.score * NEIGHBOUR) if near else hit

    return sorted(map(moved, hits), key=lambda hit: -hit.score)


def _linked(page: Page) -> Iterator[str]:
    """The addresses that a page leads to."""
    for target in _LINK.findall(page.text):
        try:
            url = urljoin(page.url, target)
        except ValueError:
            continue  # no address at all, such as `http://[`
        yield _bare(url)


def _bare(url: str) -> str:
    return urldefrag(url).url.rstrip("/")
