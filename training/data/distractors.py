"""The pages beside the one that answers: what our own search finds, too."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from random import Random

from eval.questions.rows import Row
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.sentences import units
from gateway.answering.grounding.support import Support
from gateway.knowledge.search.search import Search
from gateway.knowledge.wiki.page import Page

# Pages that the search is asked for.
FOUND = 50
# A page holds an answer when it supports its sentences as far as the gateway asks of what goes out.
HELD = 0.6


class Distractors:
    """Pages of one wiki for one split. Positions that it gives out are balanced."""

    def __init__(self, search: Search, pages: Sequence[Page], random: Random) -> None:
        """`pages` are all of the wiki."""
        self._search = search
        self._random = random
        # Where the search finds too few, any page is one that does not answer.
        self._others = random.sample(pages, len(pages))
        self._taken: Counter[tuple[int, int]] = Counter()

    def candidates(self, row: Row) -> list[Page]:
        """The pages for a question, best first, the row's own among them."""
        return [hit.page for hit in self._search.find(row.question, limit=FOUND)]

    def beside(self, row: Row, candidates: Sequence[Page]) -> Iterator[Page]:
        """Pages that do not answer the row as far as it says itself: best first, then any."""
        seen = {*_own(row), *(page.path for page in candidates)}
        more = (page for page in self._others if page.path not in seen)
        return chain((page for page in candidates if page.path not in _own(row)), more)

    def around(
        self, row: Row, golds: Sequence[Page], candidates: Sequence[Page], count: int
    ) -> tuple[list[Page], int, bool]:
        """`count` pages with `golds` among them, as they stand in a prompt.

        They stand in the order of their paths, so the distractors decide where the first of
        `golds` stands: of the places that it can have, at the one that it had least often. Text of
        the row's own has no path, and can have any.

        Returns the pages, the place of the first of `golds` from 0, and whether the wiki lacks
        pages for one of the places.
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
        """A prompt of `count` pages has the gold page at `place`."""
        self._taken[count, place] += 1

    def without(
        self, row: Row, golds: Sequence[Page], candidates: Sequence[Page], count: int
    ) -> list[Page]:
        """At most `count` pages that were found and that do not hold the answer, best first.

        A page holds it that supports the answer as the gateway measures it, or as well as `golds`
        do: that one may be a copy, or as good.
        """
        held = self.held(row, golds)
        fair = (
            page
            for page in candidates
            if page.path not in _own(row) and self.support(row, [whole(page)]) < held
        )
        return list(islice(fair, count))

    def held(self, row: Row, golds: Sequence[Page]) -> float:
        """The support of the answer from which on a text holds it."""
        return min(HELD, self.support(row, [whole(page) for page in golds]))

    def support(self, row: Row, excerpts: Sequence[Excerpt]) -> float:
        """Of the row's answer by the excerpts: the mean over its sentences."""
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
    """The paths of pages that may answer it; a text of its own has an empty one."""
    return row.pages or ("",)


def _path(page: Page) -> str:
    return page.path
