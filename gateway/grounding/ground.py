"""From a question to the pages in front of it, or to the decision that none of them answers it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.grounding.excerpt import Excerpt, excerpt
from gateway.search.index import Hit, Index, coverage
from gateway.wiki.page import Page, Section
from gateway.wiki.words import stems

Count = Callable[[str], Awaitable[int]]

# One section of the best pages must have this share of the question's content words, weighed by
# rarity, or the model is not asked. Up to SHORT words every word counts; longer questions are
# noisy, and less is asked of them, down to LEAST. On real questions of a support wiki this refuses
# a good third of those about another product, and a tenth of the others (docs/results.md,
# "Refusing").
SHARE = 0.45
SHORT = 8
LEAST = 0.08
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
    """Finds and fits pages. `count` gives the tokens of a text, by the engine's tokenizer."""

    def __init__(self, index: Index, count: Count) -> None:
        self.index = index
        self.count = count
        self._counts: dict[str, list[int]] = {}

    async def ground(
        self,
        question: str,
        budget: int,
        max_pages: int,
        page_url: str | None = None,
        count: Count | None = None,
    ) -> Grounds:
        """Choose what stands in front of `question`, within `budget` tokens.

        `count` is used in place of the engine's, and what it says is not kept.
        """
        hits = self.index.search(question, page_url)
        best = tuple(hit.page for hit in hits[:3])
        if not hits or not self.answers(question, hits, page_url):
            return Grounds((), best)
        rarity = self.index.rarity(stems(question))
        chosen: list[Excerpt] = []
        left = budget
        for hit in hits[:max_pages]:
            if chosen and (left < WORTHWHILE or hit.score < NEARLY * hits[0].score):
                break
            sizes = await (_sizes(hit.page, count) if count else self.counts(hit.page))
            part = excerpt(hit.page, sizes, left, question, rarity)
            chosen.append(part)
            left -= part.tokens
        # One canonical order, whatever the ranks, so that the same pages share a prefix.
        return Grounds(tuple(sorted(chosen, key=lambda e: e.page.path)), best)

    async def counts(self, page: Page) -> list[int]:
        """Tokens of each section, with the blank line after it."""
        if page.path not in self._counts:
            self._counts[page.path] = await _sizes(page, self.count)
        return self._counts[page.path]

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


async def _sizes(page: Page, count: Count) -> list[int]:
    return [await count(section.text + "\n\n") for section in page.sections]


def _words(page: Page, section: Section) -> list[str]:
    return stems(f"{page.title} {' '.join(section.path)} {section.text}")
