"""Finds the passages for a question by words and by meaning, and favours the reader's location.

Words and vectors propose pages. Each passage of the best pages is compared with the question, and a
page is as good as its best passage.
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
from gateway.knowledge.search import fit, glossary
from gateway.knowledge.search.asked import TURNS, SearchQuery, asked
from gateway.knowledge.search.embed import Embedder, unit
from gateway.knowledge.search.fit import Fit
from gateway.knowledge.search.index import LANGUAGES, WEIGHTING, Index
from gateway.knowledge.search.own_words import OwnWords, Pair
from gateway.knowledge.search.passages import Passage, passage_stems, passages, plain, text_of
from gateway.knowledge.search.remembered import Remembered
from gateway.knowledge.search.rerank import InTime
from gateway.knowledge.search.spelling import corrected
from gateway.knowledge.search.vectors import Floats
from gateway.knowledge.wiki.asking import asked_stems, ends, is_english, language
from gateway.knowledge.wiki.headings import plain as plain_heading
from gateway.knowledge.wiki.headings import question, unnumbered
from gateway.knowledge.wiki.page import Page
from gateway.knowledge.wiki.words import stems, words

Open = Callable[[Mapping[str, Any]], Embedder | None]
"""Opens the embedder of a description stored in an index, see `gateway.knowledge.search.models`."""

# The weight of a reading with another name, relative to the question as asked.
READING = 0.9
# A question with more characters, such as a pasted log, is only read in one language.
LONG = 2000
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
# Fitted by `eval.studies.ranking` on short questions to other documentations: a passage's loss for
# each e times fewer words of its own than BRIEF, not counting headings, and for each e times more
# passages on its page than LARGE, as some of many passages match by chance. On a page with fewer
# than LARGE passages it gains accordingly: at most 0.136, if it is the only one.
OF_BRIEF = 0.19
BRIEF = 30
OF_LARGE = 0.04
LARGE = 30
# Fitted together with them, on PAIRED top passages: a passage's gain for containing all pairs of
# adjacent words of the question. The index has no word positions, so only the text of the top
# passages is read.
OF_PAIRS = 0.07
PAIRED = 12
# Maximum characters of a question that is compared with headings.
ASKED_HEADING = 200
# A question in quotation marks, as in an example of how to ask.
_QUOTED = re.compile(r"[\"'`“„«]([^\"'`“”„«»\n]{3,200}\?)[\"'`”“»]")
_LINE_STARTS = " >*#_-+.)0123456789Q:"
# Maximum passages per page in a result, best first.
TOLD = 40
# Words alone decide until this share of the pages has vectors: otherwise these pages would rank
# before better ones whose vectors are pending.
EMBEDDED = 0.9
# Maximum pages that words and vectors may each propose.
CANDIDATES = 200
# Maximum pages that may be moved up because they are near the reader's page.
NEAR = 50
# The gains for the share of the question's words in one heading, and for having all of them: the
# author of the heading had the question in mind. Applied to the first HEADED pages.
HEADING = 0.05
ALL = 0.1
HEADED = 10
# Scores are above 0, however dissimilar the page is.
LEAST = 1e-6
# The factor for the reader's page, and for pages that it links to or that are in the same folder. A
# larger one would displace better answers from the first place.
CURRENT_PAGE = 1.15
NEIGHBOUR = 1.05
# "How do I configure this?" refers to the current page, whatever else its few words match.
_POINTERS = frozenset(("this", "here", "these"))
_LINK = re.compile(r"\]\(\s*<?([^)>\s]+)")


@dataclass(frozen=True)
class PassageHit:
    """A passage in a search result."""

    page: Page
    passage: Passage
    score: float
    """Comparable with the scores of all pages' passages."""
    words: float
    """The share of the question's words in the passage, 0 to 1."""
    meaning: float | None
    """Its cosine similarity to the question; None if it has no vector (yet)."""

    @property
    def url(self) -> str:
        anchor = self.passage.anchor
        return f"{self.page.url}#{anchor}" if anchor else self.page.url


@dataclass(frozen=True)
class Why:
    """The reasons why a page was found."""

    place: int
    """Its rank by text alone, from 1; answered questions and the reader's page may change it."""
    words: float
    """The contribution of the question's words to the page's score."""
    meaning: float | None
    """The similarity of its nearest passages to the question; None without vectors."""
    headings: float
    """The gain from its headings."""


@dataclass(frozen=True)
class Hit:
    """A page in a search result."""

    page: Page
    score: float
    """Above 0, about 1 for a page that answers a short question in its own words. The lower another
    page's score, the less likely it is."""
    passages: tuple[PassageHit, ...] = ()
    """Its best passages, best first."""
    why: Why | None = None
    """None for a page that neither words nor vectors found."""


def best_passages(hits: Iterable[Hit]) -> list[PassageHit]:
    """The passages of all pages in the result, best first.

    Omits headings without text and tables of contents, which show the reader nothing: their words
    count for the text that follows.
    """
    return sorted(
        (match for hit in hits for match in hit.passages if match.passage.is_readable),
        key=lambda match: -match.score,
    )


def distinct(ranked: Iterable[PassageHit]) -> list[PassageHit]:
    """Removes passages whose text is a duplicate of an earlier one."""
    first: dict[str, PassageHit] = {}
    for match in ranked:
        first.setdefault(match.passage.likeness, match)
    return list(first.values())


class _Vector(NamedTuple):
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


class _Ranking(NamedTuple):
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


@dataclass(frozen=True)
class Spoken:
    """The words of a question, for pages in one language."""

    language: str
    """See `asking.LANGUAGES`."""
    words: Mapping[str, float]
    """The stems of its content words, in the wiki's spelling, with their weights."""
    idf: Mapping[str, float]
    """The information value of each stem, see `Index.idf`."""
    in_order: Sequence[str]
    """The stems of `words` in the question itself, in order, with repetitions."""


@dataclass(frozen=True)
class Sought:
    """A question, prepared for this wiki."""

    question: str
    """The question as a person wrote it."""
    text: str
    """The text to embed: the question, with the earlier questions that it follows up."""
    spoken: Sequence[Spoken]
    """Its words, for one or more languages: that of the question if pages have it, then those of
    most pages."""
    rephrased: Sequence[str] = ()
    """The text with the wiki's words in place of the team's own."""

    @property
    def words(self) -> Mapping[str, float]:
        """The words in its own language, or in that of most pages."""
        return self.spoken[0].words

    @property
    def idf(self) -> Mapping[str, float]:
        """The information value of the stems of all languages."""
        if len(self.spoken) == 1:
            return self.spoken[0].idf
        return {stem: idf for spoken in self.spoken for stem, idf in spoken.idf.items()}

    def on(self, page: Page) -> Spoken:
        """The words in a page's language, or else in the first."""
        if len(self.spoken) == 1:
            return self.spoken[0]
        named = (spoken for spoken in self.spoken if spoken.language == page.language)
        return next(named, self.spoken[0])


class _Reading(NamedTuple):
    """The words of a question in a language, or with another name in them."""

    words: Mapping[str, float]
    counts: float
    """How much it counts, relative to the question as asked."""


class OtherReading(NamedTuple):
    """The question with another name for something in it."""

    words: Mapping[str, float]
    by_team: bool
    """From the team's own words, not from the wiki's names."""


class Search:
    """Searches an index. Safe to use from any thread."""

    def __init__(
        self,
        index: Index,
        embedder: Embedder | None,
        reranker: InTime | None = None,
        opened: Open = lambda described: None,
        own_words: OwnWords | None = None,
    ) -> None:
        """
        Args:
            index: the index to search.
            embedder: None if there is none; then, and while the index has no vectors, words alone
                decide.
            reranker: reorders the first passages.
            opened: opens the embedder in use until `embedder` has embedded all pages.
            own_words: a team's own words, and their synonyms in the wiki.
        """
        self.index = index
        self.embedder = embedder
        self._reranker = reranker
        self._opened = opened
        self.own_words = own_words or OwnWords()
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
        """The same search, without a reranker that does not change the ranking of pages."""
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
            history: the reader's earlier questions, oldest first.
        """
        question = ends(question)
        history = [ends(earlier) for earlier in history[-TURNS:]]
        with self.index.snapshot():
            there = self.index.languages() or ("",)
            own = language(question)
            languages = list(dict.fromkeys([own if own in there else there[0], *there]))
            languages = languages[: LANGUAGES if len(question) <= LONG else 1]
            queries = {name: asked(question, history, name) for name in languages}
            # In a wiki of one language it would only look every word up twice.
            known = self._known(queries.values()) if len(queries) > 1 else set()
            spoken = [self._spoken(question, name, query, known) for name, query in queries.items()]
        text, names = queries[languages[0]].text, self.own_words.names(languages[0])
        return Sought(question, text, spoken, glossary.rephrased(text, names, languages[0]))

    def _known(self, queries: Collection[SearchQuery]) -> set[str]:
        """The words of a question, as they are spelt, that pages have in any language."""
        idf = self.index.idf({stem for query in queries for stem in query.words})
        unknown = self.index.idf(["\0"])["\0"]
        return {
            query.spelt[stem] for query in queries for stem in query.words if idf[stem] < unknown
        }

    def _spoken(
        self, question: str, language: str, query: SearchQuery, known: Collection[str]
    ) -> Spoken:
        # A team's own word is not a misspelling, even if no page has it.
        names = {stem for phrase in self.own_words.names(language) for stem in phrase.split()}
        own = {stem: weight for stem, weight in query.words.items() if stem in names}
        others = {stem: weight for stem, weight in query.words.items() if stem not in own}
        words = own | corrected(others, query.spelt, known, self.index.idf)
        in_order = [stem for stem in asked_stems(question, language) if stem in words]
        return Spoken(language, words, self.index.idf(words), in_order)

    def with_pair(self, pair: Pair) -> Self:
        """The same search with another pair of own words, to try it."""
        mine = copy.copy(self)
        mine.own_words = self.own_words.plus(pair)
        return mine

    def readings(self, sought: Sought) -> list[OtherReading]:
        """Alternative readings of the question, with other names, the team's own first."""
        by_team, by_wiki = [], []
        for spoken in sought.spoken:
            names = self.own_words.names(spoken.language)
            own = {
                phrase: names[phrase]
                for phrase in (glossary.phrases(sought.text, spoken.language) if names else ())
                if phrase in names
            }
            learnt = self.index.meanings(sought.text, spoken.language)
            by_team += glossary.readings(spoken.words, own)
            by_wiki += glossary.readings(spoken.words, learnt)
        every = [*by_team, *by_wiki]
        return [
            OtherReading(words, place < len(by_team))
            for place, words in enumerate(every)
            if words not in every[:place]
        ][: glossary.READINGS]

    def hits(
        self,
        sought: Sought,
        page_url: str | None = None,
        limit: int = 5,
        sources: Sequence[str] = (),
    ) -> list[Hit]:
        """The pages, best first.

        Args:
            sought: the question.
            page_url: address of the reader's page, if it is in the wiki. It and its neighbours are
                moved up, and it is the answer if nothing else matches.
            limit: the maximum number of hits.
            sources: names of the wikis to search, or empty for all.
        """
        vector = self._vector(sought)
        with self.index.snapshot():
            within = self.index.of(sources) if sources else None
            ranking = self._ranking(sought, vector, within)
            ranked: Sequence[tuple[int, float]] = ranking.pages
            if vector is not None:
                ranked = self._memory(vector.model).ranked(ranked, vector.numbers)
            current = self.index.by_url(page_url) if page_url else None
            if within is not None:  # the memory may add pages of other wikis
                ranked = [scored for scored in ranked if scored[0] in within]
                if current is not None and self.index.number(current) not in within:
                    current = None
            if current is None:
                hits = [Hit(self.index.page(number), score) for number, score in ranked[:limit]]
                hits = self._with_passages(hits, sought, vector, ranking)
                return _asked_first(self._in_order(hits, sought), sought)
            # A page further down would not move up to the first ones.
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
            return _asked_first(self._in_order(hits, sought), sought)

    def of(self, sought: Sought, pages: Sequence[Page]) -> list[Hit]:
        """These pages with their best passages, in the given order; they need not be in the
        index."""
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
        """The candidates by text, best first: number and score.

        Args:
            sought: the question.
            vector: the vector of its text, by `embedder`; None if unavailable.
            within: limits the result to these pages.
        """
        query_vector = None
        if vector is not None and self.embedder is not None:
            query_vector = _Vector(self.embedder.model, vector)
        return self._ranking(sought, query_vector, within).pages

    def _vector(self, sought: Sought) -> _Vector | None:
        """The question's vector by the embedder in use; None if there is none. With own words, it
        lies between those of the question and of its rephrasings."""
        embedder = self.serving()
        if embedder is None or not sought.words:
            return None
        try:
            vectors = [embedder.ask(text) for text in (sought.text, *sought.rephrased)]
            return _Vector(
                embedder.model, vectors[0] if len(vectors) == 1 else unit(np.sum(vectors, axis=0))
            )
        except Exception as error:  # each library raises its own types, even plain Exception
            why = str(error) or repr(error)
            self._trouble.warn("the search uses words only: %s", why)
            return None

    def likeness(self, sought: Sought, found: Sequence[PassageHit]) -> float | None:
        """The similarity of the nearest of these passages to the question, with vectors computed
        now; None if they cannot be computed."""
        vector, embedder = self._vector(sought), self.serving()
        if vector is None or embedder is None or not found:
            return None
        try:
            vectors = embedder.embed([text_of(match.page, match.passage) for match in found])
        except Exception as error:  # as in `_vector`
            why = str(error) or repr(error)
            self._trouble.warn("passages without vectors are ranked by words only: %s", why)
            return None
        near = self.fit(vector.model).meaning(np.vecdot(vectors, vector.numbers))
        return float(near.max())

    def serving(self) -> Embedder | None:
        """The embedder whose vectors are in use."""
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
        """The fit of an embedding model."""
        if self._tried is not None:
            return self._tried
        return fit.load(self.index.embedders().stored.get(model, {}).get("fit"))

    def serving_fit(self) -> Fit:
        """The fit of the embedder in use."""
        embedder = self.serving()
        return Fit() if embedder is None else self.fit(embedder.model)

    def _memory(self, model: str) -> Remembered:
        if model not in self._remembered:
            self._remembered[model] = Remembered(self.index, model)
        return self._remembered[model]

    def _in_order(self, hits: list[Hit], sought: Sought) -> list[Hit]:
        """Reorders the first passages, also by the reranker if it is in time. The reranker's score
        of a page is that of its best passage."""
        first = best_passages(hits)[:PAIRED]
        keys = [
            (quotes(sought, match), -match.score - OF_PAIRS * paired_share(sought, match))
            for match in first
        ]
        hits = _placed(hits, first, sorted(range(len(first)), key=keys.__getitem__))
        # The bundled reranker was trained on English only.
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
        if not self._reranker.decides:  # pages and refusals are calibrated on the search's scores
            return hits
        return sorted(map(_as_its_best, hits), key=lambda hit: -hit.score)

    def _ranking(
        self, sought: Sought, vector: _Vector | None, within: Collection[int] | None
    ) -> _Ranking:
        fitted = self.fit(vector.model) if vector else Fit()
        wordings = _in_languages(sought)
        wordings += [_Reading(reading.words, READING) for reading in self.readings(sought)]
        idf = sought.idf
        if unknown := {stem for reading in wordings for stem in reading.words} - idf.keys():
            idf = {**idf, **self.index.idf(unknown)}
        share = self._share(wordings, idf, within, fitted)
        near = self._similarities(vector, share, within)
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
            number: _headed(heading_share(page, sought.on(page).idf))
            for number, _ in by_score[:HEADED]
            for page in [self.index.page(number)]
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
        wordings: Sequence[_Reading],
        idf: Mapping[str, float],
        near: Mapping[int, Floats],
        fitted: Fit,
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
            total_of = (_of_words(of_words, fitted) + like + np.repeat(of_best, sizes)) / (1 + PAGE)
            total_of += _of_length(np.concatenate([said[number].words for number in pages]))
        scores = np.maximum(total_of, LEAST)
        return {
            number: _Compared(max(of_page, LEAST), scores[start:end], of_words[start:end], meaning)
            for number, of_page, start, end, meaning in zip(
                pages, best.tolist(), starts, ends, meanings, strict=True
            )
        }

    def _with_passages(
        self, hits: Sequence[Hit], sought: Sought, vector: _Vector | None, ranking: _Ranking
    ) -> list[Hit]:
        """Adds the best passages to the hits."""
        numbers = {id(hit): self.index.number(hit.page) for hit in hits}
        missing = {
            number: hit.score
            for hit in hits
            if (number := numbers[id(hit)]) is not None and number not in ranking.compared
        }
        compared = ranking.compared
        if missing:  # from the memory, or the reader's page
            near = self._similarities(vector, missing, missing.keys())
            fitted = self.fit(vector.model) if vector else Fit()
            more = self._compared(missing, _in_languages(sought), sought.idf, near, fitted)
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
        wordings: Sequence[_Reading],
        idf: Mapping[str, float],
        within: Collection[int] | None,
        fitted: Fit,
    ) -> dict[int, float]:
        """The weighted share of words of the best pages, each in its best reading."""
        share: dict[int, float] = {}
        every = [reading.words for reading in wordings]
        matched = self.index.match_each(every, CANDIDATES, within=within)
        for reading, scored in zip(wordings, matched, strict=True):
            all_of_it = sum(weight * idf[stem] for stem, weight in reading.words.items())
            counts = reading.counts * fitted.lexical / (WEIGHTING.k1 + 1)
            for number, score in scored:
                share[number] = max(share.get(number, 0.0), counts * score / all_of_it)
        return share

    def _similarities(
        self, vector: _Vector | None, numbers: Iterable[int], within: Collection[int] | None
    ) -> dict[int, Floats]:
        """The similarities of the passages of these pages and of the nearest pages, if they have
        vectors.

        Empty while too few pages have vectors.
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
                for number, near in vectors.best(query, CANDIDATES, numbers).items()
                if within is None or number in within
            }
        meaning = self.fit(vector.model).meaning
        if not similar:
            return {}
        ends = np.cumsum([len(near) for near in similar.values()]).tolist()
        every = meaning(np.concatenate(list(similar.values())))
        return {
            number: every[start:end]
            for number, start, end in zip(similar, [0, *ends], ends, strict=False)
        }


def _in_languages(sought: Sought) -> list[_Reading]:
    """The question as asked, once for each language in which its stems differ."""
    every = [spoken.words for spoken in sought.spoken]
    return [_Reading(words, 1.0) for n, words in enumerate(every) if words not in every[:n]]


def _placed(hits: Sequence[Hit], first: Sequence[PassageHit], order: Sequence[int]) -> list[Hit]:
    """Reorders the first passages of the hits.

    A passage gets the score of its new rank: words and meaning decide how well the wiki answers at
    all. Ties are broken by minimal decrements.
    """
    moved: dict[tuple[str, Passage], float] = {}
    lowest = inf
    for match, old in zip(first, order, strict=True):
        lowest = min(match.score, nextafter(lowest, -inf))
        moved[first[old].page.url, first[old].passage] = lowest
    changed = []
    for hit in hits:
        scores = [moved.get((hit.page.url, match.passage)) for match in hit.passages]
        places = [
            match if score is None else replace(match, score=score)
            for match, score in zip(hit.passages, scores, strict=True)
        ]
        changed.append(replace(hit, passages=tuple(sorted(places, key=lambda match: -match.score))))
    return changed


def _asked_first(hits: list[Hit], sought: Sought) -> list[Hit]:
    """Moves the best passage of a section whose heading is the question to the front."""
    if len(sought.question) > ASKED_HEADING:
        return hits
    asked_words = words(sought.question)
    if len(asked_words) < 2:
        return hits
    ranked = best_passages(hits)
    sections: dict[tuple[str, int], bool] = {}
    for place, match in enumerate(ranked):
        key = (match.page.url, match.passage.section)
        if key not in sections:
            sections[key] = _is_heading(asked_words, match)
        if sections[key]:
            return _placed(hits, ranked[: place + 1], [place, *range(place)]) if place else hits
    return hits


def _is_heading(asked_words: list[str], match: PassageHit) -> bool:
    """Is the question the heading of the passage's section, or made of it?"""
    if not match.page.sections:
        return False
    section = match.page.sections[match.passage.section]
    heading = plain_heading(section.heading)
    if asked_words in (words(heading), words(unnumbered(heading))):
        return True
    return asked_words[:3] == ["how", "do", "i"] and words(question(section)) == asked_words


def _as_its_best(hit: Hit) -> Hit:
    best = (match.score for match in hit.passages if match.passage.is_readable)
    return replace(hit, score=max(best, default=hit.score))


def paired_share(sought: Sought, match: PassageHit) -> float:
    """The share of a question's pairs of adjacent words that are adjacent in a passage, too."""
    spoken = sought.on(match.page)
    pairs = list(pairwise(spoken.in_order))
    if not pairs:
        return 0.0
    there = set(pairwise(stems(plain(match.passage.text), spoken.language)))
    return sum(pair in there for pair in pairs) / len(pairs)


def quotes(sought: Sought, match: PassageHit) -> bool:
    """Whether a passage quotes the question. An example of how to ask has all of its words, but is
    not an answer. The text below a line that begins with it, as in a FAQ, is the answer."""
    spoken = sought.on(match.page)
    asked = set(spoken.in_order)
    text = match.passage.text
    return len(asked) > 1 and any(
        text[text.rfind("\n", 0, quoted.start()) + 1 : quoted.start()].strip(_LINE_STARTS)
        and asked.issubset(stems(quoted[1], spoken.language))
        for quoted in _QUOTED.finditer(text)
    )


def _by_words(page: Page, sought: Sought) -> _Compared:
    """Compares the passages of a page that is not in the index."""
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
    return _Compared(best, np.maximum(_of_words(share, Fit()), LEAST), share, None)


def _of_words(share: Floats, fitted: Fit) -> Floats:
    counted: Floats = np.sqrt(np.clip(share, 0, 1)) * np.float32(fitted.of_passage)
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
    """The addresses that a page links to."""
    for target in _LINK.findall(page.text):
        try:
            url = urljoin(page.url, target)
        except ValueError:
            continue  # not an address, such as `http://[`
        yield _bare(url)


def _bare(url: str) -> str:
    return urldefrag(url).url.rstrip("/")
