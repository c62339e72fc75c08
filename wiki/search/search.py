"""Finds the pages and passages for a question by words and by meaning, and favours the reader's
location.

`query` prepares the question, `ranking` ranks pages and passages, `readers_page` favours the
reader's page, and `passage_order` puts the passages in order for the reader.
"""

import copy
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np

from core.errors import RareWarning
from wiki.index import calibration
from wiki.index.calibration import Fit
from wiki.index.embed import Embedder, unit
from wiki.index.index import Index
from wiki.index.passages import text_of
from wiki.index.vectors import Floats
from wiki.pages.page import Page
from wiki.search.glossary import Glossary
from wiki.search.hits import Hit, PassageHit
from wiki.search.passage_order import in_order
from wiki.search.query import Sought, prepared, readings
from wiki.search.ranking import LEAST, QueryVector, Ranker, by_words
from wiki.search.readers_page import moved_up, refers_to_it
from wiki.search.rerank import InTime

Open = Callable[[Mapping[str, Any]], Embedder | None]
"""Opens the embedder of a description stored in an index, see `wiki.search.models`."""

# Maximum pages that may be moved up because they are near the reader's page.
NEAR = 50


class Search:
    """Searches an index. Safe to use from any thread."""

    def __init__(
        self,
        index: Index,
        embedder: Embedder | None,
        reranker: InTime | None = None,
        opened: Open = lambda described: None,
        glossary: Glossary | None = None,
    ) -> None:
        """
        Args:
            index: the index to search.
            embedder: None if there is none; then, and while the index has no vectors, words alone
                decide.
            reranker: reorders the first passages.
            opened: opens the embedder in use until `embedder` has embedded all pages.
            glossary: a team's own words, and their synonyms in the wiki.
        """
        self.index = index
        self.embedder = embedder
        self._reranker = reranker
        self._opened = opened
        self.glossary = glossary or Glossary()
        self._older: dict[str, Embedder | None] = {}
        self._opening = threading.Lock()
        self._trouble = RareWarning("askdocs.search")

    def over(self, index: Index) -> Self:
        """The same search, restricted to one reader's view of the index."""
        mine = copy.copy(self)
        mine.index = index
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
        return prepared(self.index, self.glossary, question, history)

    def readings(self, sought: Sought) -> list[Mapping[str, float]]:
        """Alternative readings of the question, with the glossary's words."""
        return readings(self.glossary, sought)

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
            ranker = self._ranker(sought, vector)
            ranking = ranker.ranking(within)
            ranked: Sequence[tuple[int, float]] = ranking.pages
            current = self.index.by_url(page_url) if page_url else None
            if within is not None and current and self.index.number(current) not in within:
                current = None
            if current is None:
                hits = [Hit(self.index.page(number), score) for number, score in ranked[:limit]]
                return in_order(ranker.with_passages(hits, ranking), sought, self._reranker)
            # A page further down would not move up to the first ones.
            here = self.index.number(current)
            near = [
                scored
                for place, scored in enumerate(ranked)
                if place < max(limit, NEAR) or scored[0] == here
            ]
            hits = [Hit(self.index.page(number), score) for number, score in near]
            hits = moved_up(hits, current)
            few = len(sought.words) <= 2
            if not hits or (few and refers_to_it(sought.question)):
                others = [hit for hit in hits if hit.page.path != current.path]
                hits = [Hit(current, hits[0].score if hits else LEAST), *others]
            hits = ranker.with_passages(hits[:limit], ranking)
            return in_order(hits, sought, self._reranker)

    def of(self, sought: Sought, pages: Sequence[Page]) -> list[Hit]:
        """These pages with their best passages, in the given order; they need not be in the
        index."""
        vector = self._vector(sought)
        with self.index.snapshot():
            ranker = self._ranker(sought, vector)
            ranking = ranker.ranking(None)
            scores = dict(ranking.pages)
            hits = []
            for page in pages:
                number = self.index.number(page)
                if number is None:
                    hits.append(by_words(page, sought))
                else:
                    hit = Hit(page, scores.get(number, LEAST))
                    hits += ranker.with_passages([hit], ranking)
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
            query_vector = QueryVector(self.embedder.model, vector)
        return self._ranker(sought, query_vector).ranking(within).pages

    def _ranker(self, sought: Sought, vector: QueryVector | None) -> Ranker:
        fitted = self.fit(vector.model) if vector else Fit()
        return Ranker(self.index, sought, self.readings(sought), vector, fitted)

    def _vector(self, sought: Sought) -> QueryVector | None:
        """The question's vector by the embedder in use; None if there is none. With own words, it
        lies between those of the question and of its rephrasings."""
        embedder = self.serving()
        if embedder is None or not sought.words:
            return None
        try:
            vectors = [embedder.ask(text) for text in (sought.text, *sought.rephrased)]
            return QueryVector(
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

    def fit(self, model: str) -> Fit:
        """The fit of an embedding model."""
        return calibration.load(self.index.embedders().stored.get(model, {}).get("fit"))
