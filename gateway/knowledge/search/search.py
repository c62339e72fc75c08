"""Finds the passages for a question by words and by meaning, and favours the reader's place.

Words and vectors propose pages. Of the best of them each passage is compared with the question, and
a page is as good as its best passage.
"""

import copy
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from math import fsum, inf, nextafter
from typing import Any, NamedTuple, Self
from urllib.parse import urldefrag, urljoin

import numpy as np

from gateway.core.seldom import Seldom
from gateway.knowledge.search import fit
from gateway.knowledge.search.asked import asked
from gateway.knowledge.search.embed import Embedder
from gateway.knowledge.search.fit import Fit
from gateway.knowledge.search.glossary import READINGS, phrases, readings
from gateway.knowledge.search.index import WEIGHTING, Index
from gateway.knowledge.search.passages import Passage, passage_stems, passages, plain, text_of
from gateway.knowledge.search.remembered import Remembered
from gateway.knowledge.search.rerank import InTime
from gateway.knowledge.search.spelling import corrected
from gateway.knowledge.search.vectors import Floats
from gateway.knowledge.wiki.asking import is_english
from gateway.knowledge.wiki.page import Page
from gateway.knowledge.wiki.words import stems, words

Open = Callable[[Mapping[str, Any]], Embedder | None]
"""Opens the embedder of a description that an index stores, see
`gateway.knowledge.search.models`."""

# What a question counts that is read with another name for what it names.
READING = 0.9
# So many pages of the wikis that are asked are compared one by one; of more, the nearest of all.
FEW = 2000
# Of the three passages of a page that are nearest to the question.
NEAREST = np.array([0.5, 0.3, 0.2], np.float32)
# What the share of the words counts beside the similarity of a passage, and what its page's words,
# where pages are put in order by their best passage.
OF_WORDS = 0.5
OF_PAGE = 0.5
# Pages whose passages are compared.
COMPARED = 30
# What the page counts beside a passage of it, where passages of several pages are put in order.
PAGE = 0.4
# A passage of few words is near to many questions and answers few of them: what e times as many
# different words count, up to MANY; a passage of USUAL words neither gains nor loses.
LENGTH = 0.05
USUAL = 40
MANY = 100
# Fitted by `eval.studies.ranking` on short questions to other documentations: what a passage loses
# for each e times fewer words of its own than BRIEF, headings not counted, and for each e times
# more passages of its page than LARGE; of many passages one matches by chance. Where its page has
# fewer than LARGE it gains as much: 0.136 at most, where it is the only one.
OF_BRIEF = 0.19
BRIEF = 30
OF_LARGE = 0.04
LARGE = 30
# Fitted with them, on so many first passages: what a passage gains for having all pairs of words
# that stand beside each other in the question. The index has no places of words, so only the text
# of the first passages is read.
OF_PAIRS = 0.07
PAIRED = 12
# A question in quotation marks, as in an example of how to ask.
_QUOTED = re.compile(r"[\"'`“„«]([^\"'`“”„«»\n]{3,200}\?)[\"'`”“»]")
_LINE_STARTS = " >*#_-+.)0123456789Q:"
# Passages of a page that are told, the best ones.
TOLD = 40
# Words alone decide until this share of the pages has vectors: the pages that have them would stand
# before better ones that wait for theirs.
EMBEDDED = 0.9
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
class PassageHit:
    """A passage that was found."""

    page: Page
    passage: Passage
    score: float
    """Compares with those of the passages of all pages."""
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
    passages: tuple[PassageHit, ...] = ()
    """Its best passages, best first."""
    why: Why | None = None
    """None for a page that neither words nor meaning found."""


def best_passages(hits: Iterable[Hit]) -> list[PassageHit]:
    """The passages of all pages that were found, best first.

    A heading with nothing below it, or the contents of a page, shows nobody anything: its words
    count for what follows it.
    """
    return sorted(
        (match for hit in hits for match in hit.passages if match.passage.is_readable),
        key=lambda match: -match.score,
    )


def distinct(ranked: Iterable[PassageHit]) -> list[PassageHit]:
    """Passages in their order, and of those with the same text only the first."""
    first: dict[str, PassageHit] = {}
    for match in ranked:
        first.setdefault(match.passage.text.strip(), match)
    return list(first.values())


class _Vector(NamedTuple):
    """Of a question."""

    model: str
    numbers: Floats


class _Compared(NamedTuple):
    """The passages of a page, in its order."""

    page: float
    """The score of the page."""
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
    in_order: Sequence[str]
    """The stems of `words` that the question itself has, in its order, with repetitions."""


class Search:
    """Searches an index. Safe to use from any thread."""

    def __init__(
        self,
        index: Index,
        embedder: Embedder | None,
        reranker: InTime | None = None,
        opened: Open = lambda described: None,
        glossary: Mapping[str, set[str]] | None = None,
    ) -> None:
        """
        Args:
            index: is searched.
            embedder: None where there is none; there, and where the index has no vectors yet, words
                alone decide.
            reranker: puts the first passages in order.
            opened: opens the embedder that serves, while `embedder` has not embedded all pages.
            glossary: a team's own words, see `glossary.own`.
        """
        self.index = index
        self.embedder = embedder
        self._reranker = reranker
        self._opened = opened
        self._glossary = glossary or {}
        self._own = frozenset(stem for phrase in self._glossary for stem in phrase.split())
        self._tried: Fit | None = None
        self._older: dict[str, Embedder | None] = {}
        self._opening = threading.Lock()
        self._remembered: dict[str, Remembered] = {}
        self._trouble = Seldom("askdocs.search")

    def over(self, index: Index) -> Self:
        """The same search, restricted to one reader's view of the index."""
        mine = copy.copy(self)
        mine.index = index
        mine._remembered = {}
        return mine

    def for_pages(self) -> Self:
        """The same search, without a reranker that leaves the pages as they are."""
        mine = copy.copy(self)
        if mine._reranker and not mine._reranker.decides:
            mine._reranker = None
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
        """The search query.

        Args:
            question: as a person wrote it.
            history: the questions that the reader asked before, oldest first.
        """
        query = asked(question, history)
        # A team's own word is no misspelt one, although no page has it.
        own = {stem: weight for stem, weight in query.words.items() if stem in self._own}
        others = {stem: weight for stem, weight in query.words.items() if stem not in own}
        words = own | corrected(others, query.spelt, self.index.idf)
        in_order = [stem for stem in stems(question) if stem in words]
        return Sought(question, words, self.index.idf(words), query.text, in_order)

    def readings(self, sought: Sought) -> list[dict[str, float]]:
        """What else the question is searched for as: with other names, the team's own first."""
        own = {
            phrase: self._glossary[phrase]
            for phrase in (phrases(sought.text) if self._glossary else ())
            if phrase in self._glossary
        }
        learnt = self.index.meanings(sought.text)
        return [*readings(sought.words, own), *readings(sought.words, learnt)][:READINGS]

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
        vector = self._vector(sought)
        with self.index.snapshot():
            within = self.index.of(sources) if sources else None
            ranking = self._ranking(sought, vector, within)
            ranked: Sequence[tuple[int, float]] = ranking.pages
            if vector is not None:
                ranked = self._memory(vector.model).ranked(ranked, vector.numbers)
            current = self.index.by_url(page_url) if page_url else None
            if within is not None:  # pages of other wikis may have been remembered
                ranked = [scored for scored in ranked if scored[0] in within]
                if current is not None and self.index.number(current) not in within:
                    current = None
            if current is None:
                hits = [Hit(self.index.page(number), score) for number, score in ranked[:limit]]
                return self._in_order(self._with_passages(hits, sought, vector, ranking), sought)
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
            hits = self._with_passages(hits[:limit], sought, vector, ranking)
            return self._in_order(hits, sought)

    def of(self, sought: Sought, pages: Sequence[Page]) -> list[Hit]:
        """These pages with their best passages, in this order; they need not be of the index."""
        vector = self._vector(sought)
        with self.index.snapshot():
            ranking = self._ranking(sought, vector, None)
            scores = dict(ranking.pages)
            hits = []
            for page in pages:
                number = self.index.number(page)
                if number is None:
                    compared = _by_words(page, sought)
                    hits.append(_with_passages(Hit(page, compared.page), compared))
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
            vector: of its text, by `embedder`; None where it cannot be had.
            within: only of these pages.
        """
        query_vector = None
        if vector is not None and self.embedder is not None:
            query_vector = _Vector(self.embedder.model, vector)
        return self._ranking(sought, query_vector, within).pages

    def _vector(self, sought: Sought) -> _Vector | None:
        """Of a question, by the embedder whose vectors serve; None where there is none."""
        embedder = self.serving()
        if embedder is None or not sought.words:
            return None
        try:
            return _Vector(embedder.model, embedder.ask(sought.text))
        except Exception as error:  # each library has its own, down to plain Exception
            why = str(error) or repr(error)
            self._trouble.warn("questions are searched for by their words only: %s", why)
            return None

    def likeness(self, sought: Sought, found: Sequence[PassageHit]) -> float | None:
        """How like the question the nearest of these passages is, by vectors that are made for it;
        None where they cannot be made."""
        vector, embedder = self._vector(sought), self.serving()
        if vector is None or embedder is None or not found:
            return None
        try:
            vectors = embedder.embed([text_of(match.page, match.passage) for match in found])
        except Exception as error:  # as in `_vector`
            why = str(error) or repr(error)
            self._trouble.warn("passages without vectors are compared by words only: %s", why)
            return None
        near = self.fit(vector.model).meaning(np.vecdot(vectors, vector.numbers))
        return float(near.max())

    def serving(self) -> Embedder | None:
        """The embedder whose vectors questions are compared with."""
        if self.embedder is None:
            return None
        known = self.index.embedders()
        serving = known.serving or self.embedder.model
        if serving == self.embedder.model:
            return self.embedder
        with self._opening:
            if serving not in self._older:
                described = known.stored.get(serving, {}).get("described")
                older = self._opened(described) if described else None
                self._older[serving] = older if older and older.model == serving else None
            return self._older[serving]

    def trying(self, fitted: Fit) -> Self:
        """The same search with other parameters, for any model."""
        mine = copy.copy(self)
        mine._tried = fitted
        return mine

    def fit(self, model: str) -> Fit:
        """What was fitted for an embedding model."""
        if self._tried is not None:
            return self._tried
        return fit.load(self.index.embedders().stored.get(model, {}).get("fit"))

    def serving_fit(self) -> Fit:
        """What was fitted for the embedder whose vectors serve."""
        embedder = self.serving()
        return Fit() if embedder is None else self.fit(embedder.model)

    def _memory(self, model: str) -> Remembered:
        if model not in self._remembered:
            self._remembered[model] = Remembered(self.index, model)
        return self._remembered[model]

    def _in_order(self, hits: list[Hit], sought: Sought) -> list[Hit]:
        """The hits with their first passages in a better order, and in that of the reranker where
        it is in time. By the reranker a page is as good as its best passage."""
        first = best_passages(hits)[:PAIRED]
        keys = [
            (quotes(sought, match), -match.score - OF_PAIRS * paired_share(sought, match))
            for match in first
        ]
        hits = _placed(hits, first, sorted(range(len(first)), key=keys.__getitem__))
        # The bundled reranker has read nothing but English.
        reads_all = self._reranker is not None and self._reranker.decides
        if self._reranker is None or not (reads_all or is_english(sought.question)):
            return hits
        answers = (match for match in best_passages(hits) if not quotes(sought, match))
        first = list(islice(answers, self._reranker.passages))
        texts = [text_of(match.page, match.passage) for match in first]
        scores = [match.score for match in first]
        order = self._reranker.order(sought.text, texts, scores) if len(first) > 1 else None
        if order is None:
            return hits
        hits = _placed(hits, first, order)
        if not self._reranker.decides:  # pages and refusals are calibrated by the search's scores
            return hits
        return sorted(map(_as_its_best, hits), key=lambda hit: -hit.score)

    def _ranking(
        self, sought: Sought, vector: _Vector | None, within: Collection[int] | None
    ) -> _Ranking:
        fitted = self.fit(vector.model) if vector else Fit()
        wordings = [sought.words, *self.readings(sought)]
        idf = sought.idf
        if unknown := {stem for reading in wordings for stem in reading} - idf.keys():
            idf = {**idf, **self.index.idf(unknown)}
        share = self._share(wordings, idf, within, fitted)
        near = self._similarities(vector, share, within)
        like = nearest_each(near)
        # A page whose vectors are not there yet is taken to be like the others with its words.
        known = [like[number] for number in share if number in like]
        usual = sum(known) / len(known) if known else 0.0
        scores = {
            number: max(share.get(number, 0.0) + like.get(number, usual), LEAST)
            for number in dict.fromkeys([*share, *like])
        }
        by_score = sorted(scores.items(), key=_best_first)
        headings = {
            number: _headed(heading_share(self.index.page(number), sought.idf))
            for number, _ in by_score[:HEADED]
        }
        first = {number: score + headings.get(number, 0.0) for number, score in by_score[:COMPARED]}
        compared = self._compared(first, wordings, idf, near, fitted)
        best = [(number, of_page.page) for number, of_page in compared.items()]
        best.sort(key=_best_first)
        least = best[-1][1] if best else 0.0
        rest = [(number, min(score, least)) for number, score in by_score[COMPARED:]]
        return _Ranking([*best, *rest], compared, share, like, headings)

    def _compared(
        self,
        pages: Mapping[int, float],
        wordings: Sequence[Mapping[str, float]],
        idf: Mapping[str, float],
        near: Mapping[int, Floats],
        fitted: Fit,
    ) -> dict[int, _Compared]:
        """The passages of pages with these scores.

        A page is as good as its best passage: by the share of the words that it has, how like the
        question it is, and a part of what the page has. Passages of several pages are put in order
        by the same, the root of the share, how long they are, and how good their page is.
        """
        weights = [
            {stem: weight * idf[stem] for stem, weight in reading.items()} for reading in wordings
        ]
        counts = np.array(
            [
                (READING if place else 1.0) / (fsum(of_reading.values()) or 1.0)
                for place, of_reading in enumerate(weights)
            ],
            np.float32,
        )
        said = self.index.passage_sums(list(pages), weights)
        known = [near[number] for number in pages if number in near]
        usual = np.float32(np.concatenate(known).mean() if known else 0.0)
        compared = {}
        for number, score in pages.items():
            of_words = (said[number].weights * counts[:, None]).max(axis=0)
            meaning = near.get(number)
            if meaning is not None and len(meaning) != len(of_words):
                meaning = None
            like = usual if meaning is None else meaning
            by_page = (OF_WORDS * of_words + like + OF_PAGE * score) / (1 + OF_PAGE)
            best = float(by_page.max())
            total_of = by_page
            if known:  # the length says too much where meaning says nothing
                total_of = (_of_words(of_words, fitted) + like + PAGE * best) / (1 + PAGE)
                total_of += _of_length(said[number].words)
            scores = np.maximum(total_of, LEAST)
            compared[number] = _Compared(max(best, LEAST), scores, of_words, meaning)
        return compared

    def _with_passages(
        self, hits: Sequence[Hit], sought: Sought, vector: _Vector | None, ranking: _Ranking
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
            near = self._similarities(vector, missing, missing.keys())
            fitted = self.fit(vector.model) if vector else Fit()
            more = self._compared(missing, [sought.words], sought.idf, near, fitted)
            compared = {**compared, **more}
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
        fitted: Fit,
    ) -> dict[int, float]:
        """The weighted share of the words that a page has, of the pages with the most, in the
        reading of which it has most. The first reading is the question as it was asked."""
        share: dict[int, float] = {}
        matched = self.index.match_each(readings, CANDIDATES, within=within)
        for place, (reading, scored) in enumerate(zip(readings, matched, strict=True)):
            all_of_it = sum(weight * idf[stem] for stem, weight in reading.items())
            counts = (READING if place else 1.0) * fitted.lexical / (WEIGHTING.k1 + 1)
            for number, score in scored:
                share[number] = max(share.get(number, 0.0), counts * score / all_of_it)
        return share

    def _similarities(
        self, vector: _Vector | None, numbers: Iterable[int], within: Collection[int] | None
    ) -> dict[int, Floats]:
        """Of the passages of these pages and of the nearest ones, as far as they have vectors.

        Of none while too few pages have some.
        """
        vectors = self.index.vectors() if vector else None
        if vectors is None or vector is None or vectors.model != vector.model:
            return {}
        if vectors.embedded < EMBEDDED * self.index.size or not vectors.fits(vector.numbers):
            return {}
        query = vector.numbers
        if within is not None and len(within) <= FEW:
            similar = vectors.of(query, within)
        else:
            similar = {
                number: near
                for number, near in vectors.best(query, CANDIDATES).items()
                if within is None or number in within
            }
            similar |= vectors.of(query, [number for number in numbers if number not in similar])
        meaning = self.fit(vector.model).meaning
        if not similar:
            return {}
        ends = np.cumsum([len(near) for near in similar.values()]).tolist()
        every = meaning(np.concatenate(list(similar.values())))
        return {
            number: every[start:end]
            for number, start, end in zip(similar, [0, *ends], ends, strict=False)
        }


def _placed(hits: Sequence[Hit], first: Sequence[PassageHit], order: Sequence[int]) -> list[Hit]:
    """The hits with their first passages in this order.

    A passage has the score of its new place: how well the wiki answers at all is what words and
    meaning say. Of equal scores the later ones are the least bit lower.
    """
    moved: dict[tuple[str, Passage], float] = {}
    lowest = inf
    for match, old in zip(first, order, strict=True):
        lowest = min(match.score, nextafter(lowest, -inf))
        moved[first[old].page.url, first[old].passage] = lowest
    changed = []
    for hit in hits:
        places = [
            replace(match, score=moved.get((match.page.url, match.passage), match.score))
            for match in hit.passages
        ]
        changed.append(replace(hit, passages=tuple(sorted(places, key=lambda match: -match.score))))
    return changed


def _as_its_best(hit: Hit) -> Hit:
    best = (match.score for match in hit.passages if match.passage.is_readable)
    return replace(hit, score=max(best, default=hit.score))


def paired_share(sought: Sought, match: PassageHit) -> float:
    """The share of the neighbouring words of a question that are neighbours in a passage, too."""
    pairs = list(pairwise(sought.in_order))
    if not pairs:
        return 0.0
    there = set(pairwise(stems(plain(match.passage.text))))
    return sum(pair in there for pair in pairs) / len(pairs)


def quotes(sought: Sought, match: PassageHit) -> bool:
    """Whether a passage quotes the question. An example of how to ask has all of its words, and
    answers nothing. Below a line that begins with it, as in a list of questions, is the answer."""
    asked = set(sought.in_order)
    text = match.passage.text
    return len(asked) > 1 and any(
        text[text.rfind("\n", 0, quoted.start()) + 1 : quoted.start()].strip(_LINE_STARTS)
        and asked.issubset(stems(quoted[1]))
        for quoted in _QUOTED.finditer(text)
    )


def _by_words(page: Page, sought: Sought) -> _Compared:
    """The passages of a page that no index has."""
    weights = {stem: weight * sought.idf[stem] for stem, weight in sought.words.items()}
    total = fsum(weights.values()) or 1.0
    share = np.array(
        [
            fsum(weights[stem] for stem in words & weights.keys()) / total
            for words in passage_stems(page)
        ],
        np.float32,
    )
    best = float(share.max()) * OF_WORDS
    return _Compared(best, np.maximum(_of_words(share, Fit()), LEAST), share, None)


def _of_words(share: Floats, fitted: Fit) -> Floats:
    counted: Floats = np.sqrt(np.clip(share, 0, 1)) * np.float32(fitted.of_passage)
    return counted


def _of_length(words: Floats) -> Floats:
    longer = np.log((1 + np.minimum(words, MANY)) / (1 + USUAL))
    return np.asarray(LENGTH * longer, np.float32)


def lost(cut: Sequence[Passage]) -> Floats:
    """What the passages of a page lose because they are brief, or the page is large; below 0 for
    what passages of a small page gain."""
    few = np.array([min(passage.words, BRIEF) for passage in cut], np.float32)
    brief = OF_BRIEF * np.log((1 + BRIEF) / (1 + few))
    return np.asarray(brief + OF_LARGE * np.log(max(len(cut), 1) / LARGE), np.float32)


def nearest_each(near: Mapping[int, Floats], weights: Floats = NEAREST) -> dict[int, float]:
    """Each page's similarity, from its nearest passages; a shorter page repeats its last one."""
    if not near:
        return {}
    counts = np.array([len(of_page) for of_page in near.values()])
    page = np.repeat(np.arange(len(counts)), counts)
    every = np.concatenate(list(near.values()))
    descending = every[np.lexsort((-every, page))]
    first = np.cumsum(counts) - counts
    similarity = sum(
        float(weight) * descending[first + np.minimum(place, counts - 1)].astype(np.float64)
        for place, weight in enumerate(weights)
    )
    return dict(zip(near, np.asarray(similarity).tolist(), strict=True))


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
