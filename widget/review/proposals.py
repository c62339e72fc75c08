"""Tries pairs of words before a writer sees them: do questions find their page with them?"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.access.rights import Reader
from gateway.answering.grounding.ground import Grounding
from gateway.knowledge.search import decided_words
from gateway.knowledge.search.own_words import Pair
from gateway.knowledge.search.search import Search
from gateway.knowledge.wiki.words import stems
from gateway.upstream.engine import estimates
from widget.review import vocabulary
from widget.review.vocabulary import Candidate
from widget.review.wiki import ReviewIndex

# Limits of a view of the page: pairs tried, pairs with the same evidence, questions of each pair,
# and seconds after which no other trial begins.
TRIED = 60
WAYS = 4
QUESTIONS = 5
SECONDS = 2.0
PROPOSED = 20


@dataclass(frozen=True)
class Proposal:
    """A pair that helps."""

    pair: Pair
    readers: int
    """Readers who used the word."""
    questions: tuple[str, ...]
    """Some of theirs, the latest first."""
    tried: int
    """Number of questions that were searched for, at most QUESTIONS."""
    before: int
    """Number of these that find their page first and are answered, without the pair."""
    after: int
    """The same with it."""


def proposals(engine: sa.Engine, reader: Reader, wiki: ReviewIndex) -> list[Proposal]:
    """The pairs that move a page up, from what the reader may read; empty without an index.

    Raises AskdocsError.
    """
    search = wiki.search(reader)
    if search is None:
        return []
    decided = decided_words.decided(engine)
    candidates = vocabulary.candidates(vocabulary.gather(engine, reader, wiki))
    new = (one for one in candidates if not any(_overlap(one.pair, pair) for pair in decided))
    return asyncio.run(_helpful(search, new))


async def _helpful(search: Search, candidates: Iterable[Candidate]) -> list[Proposal]:
    trial = _Trial(search)
    helpful: list[Proposal] = []
    ends = time.monotonic() + SECONDS
    for candidate in _distinct(candidates):
        if time.monotonic() > ends or len(helpful) == PROPOSED:
            break
        if _is_known(search, candidate.pair):
            continue
        proposal = await trial.of(candidate)
        rivals = [other for other in helpful if _says_the_same(proposal, other)]
        if proposal.after > max(proposal.before, *(rival.after for rival in rivals), 0):
            helpful = [other for other in helpful if other not in rivals] + [proposal]
    return helpful


def _overlap(pair: Pair, decided: Pair) -> bool:
    """Do both sides share a word? A writer who dismissed "bin: discard" would also dismiss "bin:
    discard edits"."""
    return all(
        set(mine.split()) & set(other.split()) for mine, other in zip(pair, decided, strict=True)
    )


def _says_the_same(new: Proposal, old: Proposal) -> bool:
    """Has a proposal for the same questions a word of this pair?"""
    words = set(new.pair.word.split()) & set(old.pair.word.split())
    return bool(words) and set(new.questions) <= set(old.questions)


def _distinct(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """At most TRIED candidates, and WAYS of those with the same evidence."""
    ways: dict[tuple[int, ...], int] = {}
    tried = 0
    for candidate in candidates:
        place = tuple(map(id, candidate.evidence))
        ways[place] = ways.get(place, 0) + 1
        if ways[place] <= WAYS:
            yield candidate
            tried += 1
        if tried == TRIED:
            return


def _is_known(search: Search, pair: Pair) -> bool:
    """Do the words in use, or the names in the wiki, map the pair already?"""
    sought = search.sought(pair.word)
    others = set(stems(pair.other, sought.spoken[0].language))
    return any(reading.words.keys() == others for reading in search.readings(sought))


class _Trial:
    """Searches for questions with and without a pair."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._without: dict[tuple[str, str], bool] = {}

    async def of(self, candidate: Candidate) -> Proposal:
        asked = dict.fromkeys((evidence.asked, evidence.url) for evidence in candidate.evidence)
        some = list(asked)[:QUESTIONS]
        for question, url in some:
            if (question, url) not in self._without:
                self._without[question, url] = await _finds(self._search, question, url)
        search = self._search.with_pair(candidate.pair)
        after = [await _finds(search, question, url) for question, url in some]
        questions = tuple(dict.fromkeys(question for question, _ in some))
        before = sum(self._without[one] for one in some)
        return Proposal(candidate.pair, candidate.readers, questions, len(some), before, sum(after))


async def _finds(search: Search, question: str, url: str) -> bool:
    """Is the question answered, with that page first?"""
    looked = await Grounding(search.index, estimates, search=search).look_up(question)
    return looked.is_answered and looked.hits[0].page.url == url
