"""Chooses distractors: pages that the gateway's own search also returns."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from random import Random

from eval.questions.rows import Row
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.sentences import units
from gateway.answering.grounding.support import Support
from wiki.pages.page import Page
from wiki.search.search import Search

# Search results per question.
FOUND = 50
# A page holds an answer if it supports its sentences to the degree that the gateway requires.
HELD = 0.6


class Distractors:
    """Distractors from one wiki for one split; balances the positions of gold pages."""

    def __init__(self, search: Search, pages: Sequence[Page], random: Random) -> None:
        """`pages` are all pages of the wiki."""
        self._search = search
        self._random = random
        # Fallback when the search returns too few pages.
        self._others = random.sample(pages, len(pages))
        self._taken: Counter[tuple[int, int]] = Counter()

    def candidates(self, row: Row) -> list[Page]:
        """Search results for a question, best first, including the row's own pages."""
        return [hit.page for hit in self._search.find(row.question, limit=FOUND)]

    def beside(self, row: Row, candidates: Sequence[Page]) -> Iterator[Page]:
        """Pages other than the row's own: search results first, then any."""
        seen = {*_own(row), *(page.path for page in candidates)}
        more = (page for page in self._others if page.path not in seen)
        return chain((page for page in candidates if page.path not in _own(row)), more)

    def around(
        self, row: Row, golds: Sequence[Page], candidates: Sequence[Page], count: int
    ) -> tuple[list[Page], int, bool]:
        """`count` pages including `golds`, in prompt order.

        Pages are sorted by path, so the choice of distractors decides the position of the first of
        `golds`: of its possible positions, the least used. The row's own text has no path and can
        take any position.

        Returns the pages, the position of the first of `golds` from 0, and whether the wiki has too
        few pages for one of the positions.
        """
        most = count - 1
        gold, *others = golds
        if gold.path:
            left = [page for page in others if page.path < gold.path]
            right = [page for page in others if page.path > gold.path]
            before = left + self._beside(row, candidates, most, lambda path: path < gold.path)
            after = right + self._beside(row, candidates, most, lambda path: path > gold.path)
        else:
            left, right = [], []
            before = after = self._beside(row, candidates, most, lambda path: True)
        possible = range(len(left), count - len(right))
        places = [n for n in possible if n <= len(before) and most - n <= len(after)]
        place = min(
            places or [min(len(before), most - len(right))],
            key=lambda n: (self._taken[count, n], self._random.random()),
        )
        if gold.path:
            # The best of each side.
            sides = sorted(before[:place], key=_path), sorted(after[: most - place], key=_path)
        else:
            order = sorted(before, key=_path)
            sides = order[:place], order[place:]
        return [*sides[0], gold, *sides[1]], place, len(places) < len(possible)

    def take(self, count: int, place: int) -> None:
        """Count a gold page at `place` in a prompt of `count` pages."""
        self._taken[count, place] += 1

    def without(
        self, row: Row, golds: Sequence[Page], candidates: Sequence[Page], count: int
    ) -> list[Page]:
        """At most `count` search results that do not hold the answer, best first.

        A page holds the answer if it supports it by the gateway's measure, or as well as `golds`
        do, since it may be a copy or an equivalent.
        """
        held = self.held(row, golds)
        fair = (
            page
            for page in candidates
            if page.path not in _own(row) and self.support(row, [whole(page)]) < held
        )
        return list(islice(fair, count))

    def held(self, row: Row, golds: Sequence[Page]) -> float:
        """The support from which on a text holds the answer."""
        return min(HELD, self.support(row, [whole(page) for page in golds]))

    def support(self, row: Row, excerpts: Sequence[Excerpt]) -> float:
        """How well the excerpts support the row's answer: the mean over its sentences."""
        measured = Support(excerpts, row.question, self._search.index.idf)
        shares = [measured.of(unit.text) for unit in units(row.answer)]
        return sum(shares) / max(1, len(shares))

    def _beside(
        self, row: Row, candidates: Sequence[Page], most: int, fits: Callable[[str], bool]
    ) -> list[Page]:
        return list(islice((p for p in self.beside(row, candidates) if fits(p.path)), most))


def whole(page: Page) -> Excerpt:
    return Excerpt(page, page.sections, 0)


def _own(row: Row) -> tuple[str, ...]:
    """Paths of the row's own pages; ("",) for a row with its own text."""
    return row.pages or ("",)


def _path(page: Page) -> str:
    return page.path
