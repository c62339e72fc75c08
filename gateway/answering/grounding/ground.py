"""Grounds a question: selects pages for the prompt, or decides that none answers the question."""

import asyncio
import copy
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from core import threads
from gateway.answering.grounding.confidence import (
    ABOUT,
    ABOUT_FOREIGN,
    Signals,
    is_about,
)
from gateway.answering.grounding.excerpt import Excerpt, chosen_sections
from gateway.answering.grounding.neutral import neutral
from gateway.answering.grounding.wording import ENGLISH, language
from wiki.index.embed import MODEL, Embedder
from wiki.index.index import Index
from wiki.index.passages import Passage, passages
from wiki.index.view import CACHED_VIEWS, Rights
from wiki.pages.asking import asked_stems
from wiki.pages.page import Page
from wiki.pages.words import is_unspaced
from wiki.rights import Groups, Reader
from wiki.rules import Rules
from wiki.search.hits import Hit, PassageHit, best_passages, distinct
from wiki.search.query import Sought
from wiki.search.ranking import heading_share
from wiki.search.search import Search

# Counts the tokens of each text, with the tokenizer of the model that will read them.
Count = Callable[[Sequence[str]], Awaitable[list[int]]]

# Cached counts, keyed by text: a page of ten sections takes half a kB.
CACHED_COUNTS = 20_000
FOUND = 5
# Pages whose passages compete for the budget.
PACKED = 20
# Below this budget the prompt has one page: a page that the engine has prefilled saves more time
# than a second page gains.
ALONE = 1000
# Maximum tokens of pages before an agent's question: 20 of 20 coding tasks had the words that they
# needed within 2,000, and 19 within 17,700.
FOR_AGENTS = 2000
# An agent's request is about its files more often than about the wiki: it gets pages only above
# this probability (ABOUT is the one for questions).
SURE = 0.6
# Passages for an agent have at least this share of the best one's score.
NEAR_BEST = 0.5
# Cached pages of agents' questions, which are found again with each step of the work.
CACHED_FOR_AGENTS = 200
# The best pages, which decide whether the question is answered.
COMPARED = 3
# Passages to compare by meaning before the pages have embeddings: some 0.15 s.
EARLY = 12
# The best passages come first; then the rest of their sections and pages if it fits, and only then
# further passages.
FIRST = 12
# Tokens of the frame around a page, and of the marks for omitted passages.
AROUND = 12
LEFT_OUT = 4


@dataclass(frozen=True)
class Grounds:
    """The pages that an answer may be based on."""

    excerpts: tuple[Excerpt, ...]
    """Empty if no page answers the question: then the answer is a refusal."""
    best: tuple[Page, ...]
    """The best pages, whether or not they are in the prompt."""
    signals: Signals
    """How well the pages fit the question."""
    sought: str
    """The search query: the question, with the earlier questions that it follows up."""
    is_warm: bool = False
    """Has the engine prefilled all of it?"""
    readers: Groups = ()
    """The access requirements of all the pages, and of the page that the reader is on."""
    closed: Groups = ()
    """The access requirements of the pages in the prompt; empty if everybody may read them."""

    @property
    def tokens(self) -> int:
        return sum(e.tokens for e in self.excerpts)


@dataclass(frozen=True)
class Looked:
    """The search results for a question."""

    sought: str
    """The search query: the question, with the earlier questions that it follows up."""
    words: Mapping[str, Collection[str]]
    """The stems of its content words, in the wiki's spelling, by the language of a page; the first
    are for pages in any other."""
    hits: tuple[Hit, ...]
    """Pages, best first, with their passages."""
    signals: Signals
    """How well the pages fit the question."""
    is_answered: bool
    """If false, the question is refused."""
    readers: Groups = ()
    """The access requirements of the pages."""

    @property
    def passages(self) -> list[PassageHit]:
        """The passages of all pages, best first; a text on several pages appears once."""
        return distinct(best_passages(self.hits))


class Grounding:
    """Finds pages and fits them into the budget. `count` uses the engine's tokenizer."""

    def __init__(
        self,
        index: Index,
        count: Count,
        embedder: Embedder | None = None,
        search: Search | None = None,
    ) -> None:
        """`search` None: search `index` with `embedder`."""
        self.index = index
        self.count = count
        self.search = search or Search(index, embedder)
        self.warm: set[int] = set()
        """Numbers of the pages that the engine has prefilled, each as the only page, in full."""
        self._counts: OrderedDict[bytes, list[int]] = OrderedDict()
        self._counting: dict[bytes, asyncio.Task[list[int]]] = {}
        self._for_agents: OrderedDict[tuple[Any, ...], Grounds] = OrderedDict()

    def over(self, index: Index) -> Self:
        """The same grounding, limited to one reader's view of the index. Token counts, which are
        keyed by the counted text, are shared."""
        mine = copy.copy(self)
        mine.index, mine.search = index, self.search.over(index)
        mine._for_agents = OrderedDict()
        return mine

    async def ground(
        self,
        question: str,
        budget: int,
        page_url: str | None = None,
        count: Count | None = None,
        history: Sequence[str] = (),
        warm_page: int = 0,
        sources: Sequence[str] = (),
    ) -> Grounds:
        """Chooses the pages to put before `question`, within `budget` tokens.

        The budget alone decides how many pages there are; below ALONE it is one. If the engine has
        prefilled that page, it is used whole up to `warm_page` tokens, as reading it costs nothing.

        `count` replaces the engine's, and its counts are not cached. `history` are the person's
        earlier questions, oldest first. `sources` limits the pages to these wikis; empty means all.
        """
        is_alone = budget < ALONE
        limit = FOUND if is_alone else PACKED
        looked = await self.look_up(question, page_url, history, sources, limit)
        sought, hits, signals = looked.sought, looked.hits, looked.signals
        best = tuple(hit.page for hit in hits[:3])
        if not looked.is_answered:
            readers = await threads.search(self._readers, best, page_url)
            return Grounds((), best, signals, sought, readers=readers)
        is_warm = bool(self.warm) and await threads.search(self._is_warm, best[0])
        if is_alone and is_warm and sum(await self.counts(best[0])) <= warm_page:
            budget = max(budget, warm_page)
        chosen = await self._packed(hits[:1] if is_alone else hits, budget, count)
        # A canonical order, independent of rank, so that the same pages share a prefix.
        chosen.sort(key=lambda e: e.page.path)
        is_warm = is_warm and len(chosen) == 1 and chosen[0].is_whole
        stands_on = (*best, *(part.page for part in chosen))
        readers = await threads.search(self._readers, stands_on, page_url)
        closed: Groups = ()
        if readers:
            closed = await threads.search(self._readers, [part.page for part in chosen], None)
        return Grounds(tuple(chosen), best, signals, sought, is_warm, readers, closed)

    async def ground_agent(
        self,
        question: str,
        budget: int,
        page_url: str | None = None,
        count: Count | None = None,
        history: Sequence[str] = (),
        sources: Sequence[str] = (),
    ) -> Grounds:
        """Chooses the pages to put before an agent's question: only good passages and their
        sections, and none if the best one is doubtful. The arguments are those of `ground`.

        The result depends only on them and the index, so that it is the same in later turns.
        """
        generation = await threads.search(lambda: self.index.generation)
        key = generation, question, budget, page_url, tuple(history), tuple(sources)
        if count is None and key in self._for_agents:
            self._for_agents.move_to_end(key)
            return self._for_agents[key]
        looked = await self.look_up(question, page_url, history, sources, PACKED)
        is_sure = looked.is_answered and is_about(looked.signals, SURE)
        ranked = best_passages(looked.hits) if is_sure else []
        least = NEAR_BEST * ranked[0].score if ranked else 0.0
        near = [
            replace(hit, passages=tuple(p for p in hit.passages if p.score >= least))
            for hit in looked.hits
        ]
        near = [hit for hit in near if hit.passages] if is_sure else []
        chosen = await self._packed(near, budget, count, whole=False)
        best = tuple(hit.page for hit in looked.hits[:COMPARED])
        readers = await threads.search(
            self._readers, [*best, *(part.page for part in chosen)], page_url
        )
        grounds = Grounds(tuple(chosen), best, looked.signals, looked.sought, readers=readers)
        if count is None:
            self._for_agents[key] = grounds
            if len(self._for_agents) > CACHED_FOR_AGENTS:
                self._for_agents.popitem(last=False)
        return grounds

    async def before(
        self, history: Sequence[str], page_url: str | None = None, sources: Sequence[str] = ()
    ) -> list[Excerpt]:
        """Returns the best pages for the previous question, whole: its answer used them, and the
        next one may follow up on it. Not for the prompt."""
        if not history:
            return []
        mine = copy.copy(self)
        mine.search = self.search.for_pages()
        looked = await mine.look_up(history[-1], page_url, history[:-1], sources)
        hits = looked.hits[:COMPARED] if looked.is_answered else ()
        return [Excerpt(hit.page, hit.page.sections, 0) for hit in hits]

    async def fit(
        self, pages: Sequence[Page], budget: int, sought: str, count: Count | None = None
    ) -> list[Excerpt]:
        """Fits the pages into a prompt, within `budget` tokens together.

        The best passages of `pages` share the budget; pages of which no passage fits are left out.
        """
        hits = await threads.search(self.search.of, self.search.sought(sought), pages)
        fitted = await self._packed(hits, budget, count)
        order = {page.url: place for place, page in enumerate(pages)}
        return sorted(fitted, key=lambda part: order[part.page.url])

    async def _packed(
        self, hits: Sequence[Hit], budget: int, count: Count | None, whole: bool = True
    ) -> list[Excerpt]:
        """Takes the best passages of these pages within `budget` tokens, then completes their
        sections, and with `whole` their pages, if they fit. Pages without a fitting passage are
        left out, except the best."""
        sizes = [
            await self._counted([section.text for section in hit.page.sections], count)
            for hit in hits
        ]
        return await threads.search(pack, hits, sizes, budget, whole)

    async def counts(self, page: Page) -> list[int]:
        """The tokens of each section, including the blank line after it."""
        return await self._counted([section.text for section in page.sections], None)

    async def _counted(self, texts: list[str], count: Count | None) -> list[int]:
        """The tokens of texts as rendered in a prompt, cached by content: pages change."""
        written = [neutral(text) + "\n\n" for text in texts]
        if count is not None:
            return await count(written)
        known = hashlib.sha256("\0".join(written).encode("utf-8", "replace")).digest()
        if known in self._counts:
            return self._counts[known]
        if known not in self._counting:  # otherwise another request is already counting this page
            self._counting[known] = asyncio.create_task(self._count(known, written))
        return await asyncio.shield(self._counting[known])

    async def _count(self, known: bytes, written: list[str]) -> list[int]:
        try:
            counts = self._counts[known] = await self.count(written)
            if len(self._counts) > CACHED_COUNTS:
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
        limit: int = FOUND,
    ) -> Looked:
        """Finds the passages for a question, from at most `limit` pages. The other arguments are
        those of `ground`."""
        # A single call, as each one queues behind running answers.
        return await threads.search(self._look_up, question, page_url, history, sources, limit)

    def _look_up(
        self,
        question: str,
        page_url: str | None,
        history: Sequence[str],
        sources: Sequence[str],
        limit: int,
    ) -> Looked:
        with self.index.snapshot():
            sought = self.search.sought(question, history)
            hits, signals = self.find(sought, page_url, sources, limit)
            about = ABOUT_FOREIGN if self._is_foreign(question, hits) else ABOUT
            is_fit = bool(hits) and is_about(signals, about)
            fits = is_fit or (bool(hits) and self._is_here(question, hits, page_url))
            readers = self._readers([hit.page for hit in hits], page_url)
        words = {spoken.language: tuple(spoken.words) for spoken in sought.spoken}
        return Looked(sought.text, words, tuple(hits), signals, fits, readers)

    def _is_warm(self, page: Page) -> bool:
        """Does a prompt with this page find it prefilled? Not if it has been closed meanwhile."""
        return self.index.number(page) in self.warm and not self.index.readers([page])

    def _readers(self, pages: Sequence[Page], page_url: str | None) -> Groups:
        here = self.index.by_url(page_url) if page_url else None
        return self.index.readers([*pages, here] if here else pages)

    def find(
        self,
        sought: Sought,
        page_url: str | None = None,
        sources: Sequence[str] = (),
        limit: int = FOUND,
    ) -> tuple[list[Hit], Signals]:
        """The pages for a question, best first, and how well they fit."""
        wanted = sought.words
        hits = self.search.hits(sought, page_url, limit, sources)
        # Further pages count only if they have a top passage: the tokens of others are not counted.
        first = {id(match.page) for match in best_passages(hits)[:FIRST]}
        hits = hits[:FOUND] + [hit for hit in hits[FOUND:] if id(hit.page) in first]
        second = hits[1].score / hits[0].score if len(hits) > 1 else 0.0
        unspaced = sum(map(is_unspaced, wanted))
        # To an English embedding model, similarities to Japanese mean nothing.
        is_foreign = 2 * unspaced > len(wanted) and self._is_english
        near = [match.meaning for hit in hits[:COMPARED] for match in hit.passages]
        known = [meaning for meaning in near if meaning is not None]
        best = best_passages(hits[:COMPARED])
        is_known = bool(known) and len(known) == len(near)
        similarity = max(known) if is_known and not is_foreign else None
        if not is_known and not is_foreign:  # a new wiki, or a page that has just changed
            similarity = self.search.likeness(sought, best_passages(hits[:FOUND])[:EARLY])
        signals = Signals(
            words=len(wanted) - unspaced // 2,
            share=max((match.words for match in best), default=0.0),
            heading=max(
                (heading_share(hit.page, sought.on(hit.page).idf) for hit in hits[:COMPARED]),
                default=0.0,
            ),
            lead=max(0.0, 1 - second),
            similarity=similarity,
            is_early=not is_known,
        )
        return hits, signals

    @property
    def _is_english(self) -> bool:
        """Whether there is no embedding model but the bundled one, which is English."""
        serving = self.search.serving()
        return serving is None or serving.model == MODEL

    def _is_foreign(self, question: str, hits: Sequence[Hit]) -> bool:
        """Is the question in another language than the best page, with a model that reads both?"""
        if not hits or self._is_english:
            return False
        spoken = language(question)
        return spoken != ENGLISH and spoken != language(hits[0].page.text)

    def _is_here(self, question: str, hits: list[Hit], page_url: str | None) -> bool:
        """Does the reader's page supply the missing words of a question like "How do I undo
        this?"?"""
        on_page = page_url is not None and self._is_of(hits[0].page, page_url)
        return on_page and len(set(asked_stems(question))) <= 1

    def _is_of(self, page: Page, url: str) -> bool:
        here = self.index.by_url(url)
        return here is not None and here.path == page.path


class Library:
    """The wikis of a gateway. Access to pages requires a reader: there is no default."""

    def __init__(self, whole: Grounding, rules: Rules) -> None:
        """`whole` covers all pages."""
        self.rights = Rights(whole.index, rules)
        self._whole = whole
        self._opened: OrderedDict[int, Grounding] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def is_empty(self) -> bool:
        """Whether the index has no wiki yet."""
        return not self._whole.index.sources()

    async def open_to(self, reader: Reader) -> Grounding:
        """Returns a grounding limited to the reader's pages."""
        return await threads.search(self.opened_to, reader)

    def opened_to(self, reader: Reader) -> Grounding:
        """Like `open_to`; blocks if the index has changed."""
        view = self.rights.seen_by(reader)
        with self._lock:
            grounding = self._opened.pop(id(view), None)
            if grounding is None or grounding.index is not view:
                grounding = self._whole.over(view)
            self._opened[id(view)] = grounding
            if len(self._opened) > CACHED_VIEWS:
                self._opened.popitem(last=False)
            return grounding


def pack(
    hits: Sequence[Hit], sizes: Sequence[Sequence[int]], budget: int, whole: bool = True
) -> list[Excerpt]:
    """Selects the passages of pages for a prompt.

    Args:
        hits: pages with their passages.
        sizes: the tokens of each section of each page.
        budget: the maximum tokens for all pages together.
        whole: complete the pages, too, if they fit.
    """
    packing = [_Packing(hit.page, of_page) for hit, of_page in zip(hits, sizes, strict=True)]
    of_page = {id(hit.page): packed for hit, packed in zip(hits, packing, strict=True)}
    ranked = best_passages(hits)
    left = budget

    def take(packed: _Packing, numbers: Collection[int]) -> None:
        nonlocal left
        cost = packed.cost(numbers)
        if cost <= left:
            packed.take(numbers)
            left -= cost

    for match in ranked[:FIRST]:
        packed = of_page[id(match.page)]
        take(packed, packed.number(match.passage))
    if ranked and not any(packed.chosen for packed in packing):
        packed = of_page[id(ranked[0].page)]
        packed.take(packed.number(ranked[0].passage))  # the answer's budget has some slack
        left = 0
    for match in ranked[:FIRST]:
        packed = of_page[id(match.page)]
        if packed.chosen:
            take(packed, packed.section(match.passage.section))
    for packed in packing:
        if whole and packed.chosen:
            take(packed, range(len(packed.passages)))
    for match in ranked[FIRST:]:
        packed = of_page[id(match.page)]
        take(packed, packed.number(match.passage))
    return [packed.excerpt() for packed in packing if packed.chosen]


class _Packing:
    """The chosen passages of one page."""

    def __init__(self, page: Page, sizes: Sequence[int]) -> None:
        self.page = page
        self.sizes = sizes
        self.passages = passages(page)
        self.chosen: set[int] = set()
        self._numbers = {id(passage): number for number, passage in enumerate(self.passages)}
        self._of_section: dict[int, list[int]] = {}
        for number, passage in enumerate(self.passages):
            self._of_section.setdefault(passage.section, []).append(number)

    def number(self, passage: Passage) -> list[int]:
        number = self._numbers.get(id(passage))
        return [self.passages.index(passage)] if number is None else [number]

    def section(self, number: int) -> list[int]:
        """The passages of a section."""
        return self._of_section[number]

    def cost(self, numbers: Collection[int]) -> int:
        """The tokens that these passages would add."""
        return self._tokens(self.chosen.union(numbers)) - self._tokens(self.chosen)

    def take(self, numbers: Collection[int]) -> None:
        self.chosen.update(numbers)

    def excerpt(self) -> Excerpt:
        whole = len(self.chosen) == len(self.passages)
        sections = self.page.sections if whole else chosen_sections(self.page, self.chosen)
        tokens = sum(self.sizes) if whole else self._tokens(self.chosen)
        return Excerpt(self.page, sections, tokens)

    def _tokens(self, chosen: Collection[int]) -> int:
        if not chosen:
            return 0
        total = 0.0 if len(chosen) == len(self.passages) else AROUND
        for number, inside in self._of_section.items():
            included = [place for place in inside if place in chosen]
            if not included or number >= len(self.sizes):
                continue
            if len(included) == len(inside):
                total += self.sizes[number]
                continue
            text = self.page.sections[number].text
            per = self.sizes[number] / max(1, len(text))
            own = sum(len(self.passages[place].text) for place in included)
            heading = len(self.page.sections[number].heading) + 4
            total += per * (own + heading) + LEFT_OUT * (len(included) + 1)
        return round(total)
