"""Finds the pages for a question: by its words and by its meaning, near where the reader is."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from urllib.parse import urldefrag, urljoin

import numpy as np

from gateway.search.asked import asked
from gateway.search.embed import Embedder
from gateway.search.glossary import readings
from gateway.search.index import WEIGHTING, Index
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
# Of the three chunks of a page that are nearest to the question.
NEAREST = np.array([0.5, 0.3, 0.2], np.float32)
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
class Hit:
    """A page that was found."""

    page: Page
    score: float
    """Above 0, about 1 for a page that answers a short question in its own words. How much less
    another page has tells how much less likely it is."""


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
            ranked: Sequence[tuple[int, float]] = self.ranked(sought, vector, within)
            if self._remembered is not None and vector is not None:
                ranked = self._remembered.ranked(ranked, vector)
            current = self.index.by_url(page_url) if page_url else None
            if within is not None:  # pages of other wikis may have been remembered
                ranked = [scored for scored in ranked if scored[0] in within]
                if current is not None and self.index.number(current) not in within:
                    current = None
            if current is None:
                return [Hit(self.index.page(number), score) for number, score in ranked[:limit]]
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
        return hits[:limit]

    def ranked(
        self, sought: Sought, vector: Floats | None, within: Collection[int] | None = None
    ) -> list[tuple[int, float]]:
        """The candidates by their text, best first: number and score.

        The score is the weighted share of the question's words that the page has, and how like the
        question it is.

        Args:
            sought: what is searched for.
            vector: of its text, [384]; None where it cannot be had.
            within: only of these pages.
        """
        others = readings(sought.words, self.index.meanings(sought.text))
        share = self._share([sought.words, *others], sought.idf, within)
        like = self._similarity(vector, share, within) if vector is not None else {}
        # A page whose vectors are not there yet is taken to be like the others with its words.
        known = [like[number] for number in share if number in like]
        usual = sum(known) / len(known) if known else 0.0
        scores = {
            number: max(share.get(number, 0.0) + like.get(number, usual), LEAST)
            for number in dict.fromkeys([*share, *like])
        }
        found = sorted(scores.items(), key=_best_first)
        headed = [
            (number, score + _headed(heading_share(self.index.page(number), sought.idf)))
            for number, score in found[:HEADED]
        ]
        return [*sorted(headed, key=_best_first), *found[HEADED:]]

    def _share(
        self,
        readings: Sequence[Mapping[str, float]],
        idf: Mapping[str, float],
        within: Collection[int] | None,
    ) -> dict[int, float]:
        """The weighted share of the words that a page has, of the pages with the most, in the
        reading of which it has most. The first reading is the question as it was asked, and
        `idf` is of its words."""
        if others := {stem for reading in readings for stem in reading} - idf.keys():
            idf = {**idf, **self.index.idf(others)}
        share: dict[int, float] = {}
        matched = self.index.match_each(readings, CANDIDATES, within=within)
        for place, (reading, found) in enumerate(zip(readings, matched, strict=True)):
            all_of_it = sum(weight * idf[stem] for stem, weight in reading.items())
            counts = (READING if place else 1.0) * LEXICAL / (WEIGHTING.k1 + 1)
            for number, score in found:
                share[number] = max(share.get(number, 0.0), counts * score / all_of_it)
        return share

    def _similarity(
        self, vector: Floats, numbers: Iterable[int], within: Collection[int] | None
    ) -> dict[int, float]:
        """Of these pages and of the nearest ones, as far as they have vectors."""
        vectors = self.index.vectors()
        if vectors is None or self.embedder is None or vectors.model != self.embedder.model:
            return {}
        if within is not None and len(within) <= FEW:
            found = vectors.of(vector, within)
        else:
            best = vectors.best(vector, CANDIDATES)
            found = {number: near for number, near in best if within is None or number in within}
            found |= vectors.of(vector, [number for number in numbers if number not in found])
        return {number: float(nearest @ NEAREST) for number, nearest in found.items()}


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
