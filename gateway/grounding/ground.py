"""From a question to the pages in front of it, or to the decision that none of them answers it."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gateway import threads
from gateway.grounding.confidence import Signals, is_about
from gateway.grounding.excerpt import Excerpt, Like, excerpt, focus, pieces, whole
from gateway.grounding.neutral import neutral
from gateway.grounding.sections import Sections
from gateway.search.embed import Embedder
from gateway.search.index import Index, coverage
from gateway.search.search import Found, Hit, Search, Sought, best_passages, heading_share
from gateway.wiki.asking import asked_stems
from gateway.wiki.page import Page, Section
from gateway.wiki.words import is_unspaced, stem_set

# The tokens of each text, by the tokenizer of the model that is to read them.
Count = Callable[[Sequence[str]], Awaitable[list[int]]]

# Counts that are kept, by what was counted: a page of ten sections takes half a kB.
KEPT = 20_000
# Shorter leftovers than this are not worth a second page.
WORTHWHILE = 300
# A further page is read only when it is found nearly as well as the first: below this it answers
# one question in twenty (docs/results.md, "Several pages").
NEARLY = 0.85
FOUND = 5
# The best pages whose sections are compared with the question.
COMPARED = 3
# Before a refusal: sections that are compared by meaning. A page with many short sections is like
# none of the questions that one of them answers. More tell no more (docs/results.md, "Confidence").
CLOSER = 8


@dataclass(frozen=True)
class Grounds:
    """What an answer may stand on."""

    excerpts: tuple[Excerpt, ...]
    """Empty when no page answers the question: then the answer is a refusal."""
    best: tuple[Page, ...]
    """The best pages, whether or not they were read."""
    signals: Signals
    """How well the pages fit the question."""
    sought: str
    """The question, with those before it that it goes on from."""
    is_warm: bool = False
    """The engine has read all of it ahead."""
    focus: Section | None = None
    """The section that fits the question best; None where no excerpt has text."""

    @property
    def tokens(self) -> int:
        return sum(e.tokens for e in self.excerpts)


@dataclass(frozen=True)
class Looked:
    """What was found for a question."""

    sought: str
    """The question, with those before it that it goes on from."""
    words: tuple[str, ...]
    """The stems of its content words, spelt as the wiki does."""
    hits: tuple[Hit, ...]
    """Pages, best first, with their passages."""
    signals: Signals
    """How well they fit."""
    is_answered: bool
    """Else the question is refused."""

    @property
    def passages(self) -> list[Found]:
        """Of all pages, best first."""
        return best_passages(self.hits)


class Grounding:
    """Finds and fits pages. `count` gives the tokens of texts, by the engine's tokenizer."""

    def __init__(self, index: Index, count: Count, embedder: Embedder | None = None) -> None:
        self.index = index
        self.count = count
        self.search = Search(index, embedder)
        self._sections = Sections(embedder) if embedder else None
        self.warm: set[int] = set()
        """Numbers of the pages that the engine has read ahead, each whole and alone."""
        self._counts: OrderedDict[bytes, list[int]] = OrderedDict()
        self._counting: dict[bytes, asyncio.Task[list[int]]] = {}

    async def ground(
        self,
        question: str,
        budget: int,
        max_pages: int,
        page_url: str | None = None,
        count: Count | None = None,
        history: Sequence[str] = (),
        warm_page: int = 0,
        sources: Sequence[str] = (),
    ) -> Grounds:
        """Choose what stands in front of `question`, within `budget` tokens.

        Where the best page does not fit them, and the engine has read it ahead, it stands there
        whole with up to `warm_page` tokens: it costs no reading.

        `count` is used in place of the engine's, and what it says is not kept. `history` is what
        the same person asked before, oldest first. `sources` are the wikis whose pages may stand
        there; all of them when empty.
        """
        looked = await self.look_up(question, page_url, history, sources)
        sought, hits, signals = looked.sought, looked.hits, looked.signals
        best = tuple(hit.page for hit in hits[:3])
        if not looked.is_answered:
            return Grounds((), best, signals, sought)
        is_warm = bool(self.warm) and self.index.number(best[0]) in self.warm
        if is_warm and max_pages == 1 and sum(await self.counts(best[0])) <= warm_page:
            budget = max(budget, warm_page)
        near = [hit.page for hit in hits[:max_pages] if hit.score >= NEARLY * hits[0].score]
        chosen = await self.fit(near, budget, sought, count)
        # One canonical order, whatever the ranks, so that the same pages share a prefix.
        chosen.sort(key=lambda e: e.page.path)
        is_warm = is_warm and len(chosen) == 1 and chosen[0].is_whole
        section = await threads.search(self.focus, chosen, sought)
        return Grounds(tuple(chosen), best, signals, sought, is_warm, section)

    async def fit(
        self, pages: Sequence[Page], budget: int, sought: str, count: Count | None = None
    ) -> list[Excerpt]:
        """What of each page stands in front of a question, within `budget` tokens together.

        `pages` are in the order in which they share it; where too little is left, the rest of them
        is left out.
        """
        chosen: list[Excerpt] = []
        left = budget
        for page in pages:
            if chosen and left < WORTHWHILE:
                break
            chosen.append(await self._fitted(page, left, sought, count))
            left -= chosen[-1].tokens
        return chosen

    def focus(self, excerpts: Sequence[Excerpt], sought: str) -> Section | None:
        """The section that fits what is sought best, of those with text under their heading."""
        return focus(excerpts, sought, self.index.idf(asked_stems(sought)), self._like(sought))

    def _like(self, sought: str) -> Like | None:
        return partial(self._sections.similarity, sought) if self._sections else None

    async def counts(self, page: Page) -> list[int]:
        """Tokens of each section, with the blank line after it."""
        return await self._counted([section.text for section in page.sections], None)

    async def _fitted(self, page: Page, budget: int, sought: str, count: Count | None) -> Excerpt:
        sizes = await self._counted([section.text for section in page.sections], count)
        if fitting := whole(page, sizes, budget):
            return fitting
        parts = pieces(page, sizes, budget)
        if len(parts) != len(sizes):
            sizes = await self._counted([part.section.text for part in parts], count)
        idf = self.index.idf(asked_stems(sought))
        return await threads.search(
            excerpt, page, parts, sizes, budget, sought, idf, self._like(sought)
        )

    async def _counted(self, texts: list[str], count: Count | None) -> list[int]:
        """Tokens of texts as they stand in a prompt, kept by what they are: pages change."""
        written = [neutral(text) + "\n\n" for text in texts]
        if count is not None:
            return await count(written)
        known = hashlib.sha256("\0".join(written).encode("utf-8", "replace")).digest()
        if known in self._counts:
            return self._counts[known]
        if known not in self._counting:  # else somebody else asks for the same page just now
            self._counting[known] = asyncio.create_task(self._count(known, written))
        return await asyncio.shield(self._counting[known])

    async def _count(self, known: bytes, written: list[str]) -> list[int]:
        try:
            counts = self._counts[known] = await self.count(written)
            if len(self._counts) > KEPT:
                self._counts.popitem(last=False)
            return counts
        finally:
            del self._counting[known]

    async def look_up(
        self,
        question: str,
        page_url: str | None = None,
        history: Sequence[str] = (),
        sources: Sequence[str] = (),
    ) -> Looked:
        """Find the passages for a question. The arguments are those of `ground`."""
        # One call, as each waits for a turn between the answers that are under way.
        return await threads.search(self._look_up, question, page_url, history, sources)

    def _look_up(
        self, question: str, page_url: str | None, history: Sequence[str], sources: Sequence[str]
    ) -> Looked:
        with self.index.snapshot():
            sought = self.search.sought(question, history)
            hits, signals = self.find(sought, page_url, sources)
            fits = bool(hits) and (is_about(signals) or self._is_here(question, hits, page_url))
        return Looked(sought.text, tuple(sought.words), tuple(hits), signals, fits)

    def find(
        self, sought: Sought, page_url: str | None = None, sources: Sequence[str] = ()
    ) -> tuple[list[Hit], Signals]:
        """The pages for a question, best first, and how well they fit it."""
        wanted, idf = sought.words, sought.idf
        hits = self.search.hits(sought, page_url, FOUND, sources)
        sections = [(hit.page, section) for hit in hits[:COMPARED] for section in hit.page.sections]
        share = [coverage(idf, wanted, _stems(page, section)) for page, section in sections]
        second = hits[1].score / hits[0].score if len(hits) > 1 else 0.0
        unspaced = sum(map(is_unspaced, wanted))
        # The embedding model is English: what is like Japanese to it tells nothing.
        is_foreign = 2 * unspaced > len(wanted)
        signals = Signals(
            words=len(wanted) - unspaced // 2,
            share=max(share, default=0.0),
            heading=max((heading_share(hit.page, idf) for hit in hits[:COMPARED]), default=0.0),
            lead=max(0.0, 1 - second),
            similarity=None if is_foreign else self._similarity(sought.text, hits[:COMPARED]),
        )
        if signals.similarity is not None and not is_about(signals):
            told = sorted(zip(share, sections, strict=True), key=lambda one: -one[0])
            closer = [place for _, place in told if place[1].body][:CLOSER]
            if self._sections:
                similarity = self._sections.similarity(sought.text, closer, patient=True)
                signals = replace(
                    signals, similarity=max([signals.similarity, *(similarity or ())])
                )
        return hits, signals

    def _similarity(self, text: str, hits: list[Hit]) -> float | None:
        embedder, vectors = self.search.embedder, self.index.vectors()
        if embedder is None or vectors is None or vectors.model != embedder.model:
            return None
        numbers = [number for hit in hits if (number := self.index.number(hit.page)) is not None]
        near = vectors.of(embedder.embed([text])[0], numbers)
        if len(near) < len(numbers):
            return None  # words alone decide about a page that has just changed
        return max((float(of_page.max()) for of_page in near.values()), default=None)

    def _is_here(self, question: str, hits: list[Hit], page_url: str | None) -> bool:
        """Does the reader's page give the words that the question lacks? "How do I undo this?" """
        on_page = page_url is not None and self._is_of(hits[0].page, page_url)
        return on_page and len(set(asked_stems(question))) <= 1

    def _is_of(self, page: Page, url: str) -> bool:
        here = self.index.by_url(url)
        return here is not None and here.path == page.path


def _stems(page: Page, section: Section) -> frozenset[str]:
    return stem_set(page.title) | stem_set(" ".join(section.path)) | stem_set(section.text)
