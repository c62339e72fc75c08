"""From a question to the pages in front of it, or to the decision that none of them answers it."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.grounding.excerpt import Excerpt, excerpt, pieces
from gateway.grounding.neutral import neutral
from gateway.search.embed import Embedder
from gateway.search.index import Index, coverage
from gateway.search.search import Hit, Search
from gateway.wiki.page import Page, Section
from gateway.wiki.words import stems

# The tokens of each text, by the tokenizer of the model that is to read them.
Count = Callable[[Sequence[str]], Awaitable[list[int]]]

# One section of the best pages must have this share of the question's content words, weighed by
# rarity, or the model is not asked. Up to SHORT words every word counts; longer questions are
# noisy, and less is asked of them, down to LEAST. On real questions of a support wiki this refuses
# a good third of those about another product, and a tenth of the others (docs/results.md,
# "Refusing").
SHARE = 0.45
SHORT = 8
LEAST = 0.08
# Counts that are kept, by what was counted: a page of ten sections takes half a kB.
KEPT = 20_000
# Shorter leftovers than this are not worth a second page.
WORTHWHILE = 300
# A further page is read only when it is found nearly as well as the first.
NEARLY = 0.6


@dataclass(frozen=True)
class Grounds:
    """What an answer may stand on."""

    excerpts: tuple[Excerpt, ...]
    """Empty when no page answers the question: then the answer is a refusal."""
    best: tuple[Page, ...]
    """The best pages, whether or not they were read."""

    @property
    def tokens(self) -> int:
        return sum(e.tokens for e in self.excerpts)


class Grounding:
    """Finds and fits pages. `count` gives the tokens of texts, by the engine's tokenizer."""

    def __init__(self, index: Index, count: Count, embedder: Embedder | None = None) -> None:
        self.index = index
        self.search = Search(index, embedder)
        self.count = count
        self._counts: OrderedDict[bytes, list[int]] = OrderedDict()

    async def ground(
        self,
        question: str,
        budget: int,
        max_pages: int,
        page_url: str | None = None,
        count: Count | None = None,
        history: Sequence[str] = (),
    ) -> Grounds:
        """Choose what stands in front of `question`, within `budget` tokens.

        `count` is used in place of the engine's, and what it says is not kept. `history` is what
        the same person asked before, oldest first.
        """
        hits = await asyncio.to_thread(self.search.find, question, page_url, history=history)
        best = tuple(hit.page for hit in hits[:3])
        if not hits or not self.answers(question, hits, page_url):
            return Grounds((), best)
        chosen: list[Excerpt] = []
        left = budget
        for hit in hits[:max_pages]:
            if chosen and (left < WORTHWHILE or hit.score < NEARLY * hits[0].score):
                break
            part = await self._fit(hit.page, left, question, count)
            chosen.append(part)
            left -= part.tokens
        # One canonical order, whatever the ranks, so that the same pages share a prefix.
        return Grounds(tuple(sorted(chosen, key=lambda e: e.page.path)), best)

    async def counts(self, page: Page) -> list[int]:
        """Tokens of each section, with the blank line after it."""
        return await self._counted([section.text for section in page.sections], None)

    async def _fit(self, page: Page, budget: int, question: str, count: Count | None) -> Excerpt:
        sizes = await self._counted([section.text for section in page.sections], count)
        parts = pieces(page, sizes, budget)
        if len(parts) != len(sizes):
            sizes = await self._counted([part.section.text for part in parts], count)
        return excerpt(page, parts, sizes, budget, question, self.index.rarity(stems(question)))

    async def _counted(self, texts: list[str], count: Count | None) -> list[int]:
        """Tokens of texts as they stand in a prompt, kept by what they are: pages change."""
        written = [neutral(text) + "\n\n" for text in texts]
        if count is not None:
            return await count(written)
        known = hashlib.sha256("\0".join(written).encode("utf-8", "replace")).digest()
        if known not in self._counts:
            self._counts[known] = await self.count(written)
            if len(self._counts) > KEPT:
                self._counts.popitem(last=False)
        return self._counts[known]

    def answers(self, question: str, hits: list[Hit], page_url: str | None) -> bool:
        asked = set(stems(question))
        here = self.index.by_url(page_url) if page_url else None
        on_page = here is not None and hits[0].page.path == here.path
        if len(asked) <= 1 and on_page:
            # "How do I undo this?": the reader's page gives the words that the question lacks.
            return True
        rarity = self.index.rarity(asked)
        share = max(
            coverage(rarity, asked, _words(hit.page, section))
            for hit in hits[:3]
            for section in hit.page.sections
        )
        return share >= max(LEAST, SHARE * SHORT / max(SHORT, len(asked)))


def _words(page: Page, section: Section) -> list[str]:
    return stems(f"{page.title} {' '.join(section.path)} {section.text}")
