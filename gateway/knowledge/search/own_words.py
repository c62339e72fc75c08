"""A team's own words: those of `[search.glossary]`, and those that writers add in the review.

Evaluation runs import this module in an environment without a database: see `decided_words`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

from gateway.knowledge.search.glossary import MANY, MOST_WORDS, own


class Pair(NamedTuple):
    """A reader's word, and the wiki's."""

    word: str
    other: str


class OwnWords:
    """The words in use. Thread-safe."""

    def __init__(self, configured: Mapping[str, Iterable[str]] | None = None) -> None:
        self._configured = {word: list(others) for word, others in (configured or {}).items()}
        self.use((), 0)

    def names(self, language: str) -> Mapping[str, Mapping[str, str]]:
        """The keys of the words and of their synonyms, see `glossary.own`."""
        words, by_language, _ = self._current
        if language not in by_language:
            by_language[language] = own(words, language)
        return by_language[language]

    @property
    def revision(self) -> int:
        """Of the pairs in use that writers have added."""
        return self._current[2]

    def use(self, pairs: Iterable[Pair], revision: int) -> None:
        """Use the pairs that writers have added, of this revision."""
        by_language: dict[str, Mapping[str, Mapping[str, str]]] = {}
        # As one: another thread may use another revision at the same time.
        self._current = merged(self._configured, pairs), by_language, revision

    def plus(self, pair: Pair) -> Self:
        """These words and another pair, to try it."""
        mine = type(self)(self._current[0])
        mine._configured.setdefault(pair.word, []).append(pair.other)
        mine.use((), 0)
        return mine


def merged(
    configured: Mapping[str, Sequence[str]], pairs: Iterable[Pair]
) -> dict[str, Sequence[str]]:
    """The settings' words with the writers', within the limits of a glossary; the settings' come
    first, then the oldest."""
    words = {word: [*others] for word, others in configured.items()}
    for word, other in pairs:
        others = words.get(word, [])
        if (others or len(words) < MOST_WORDS) and len(others) < MANY and other not in others:
            words[word] = [*others, other]
    return dict(words)
