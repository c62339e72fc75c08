"""A team's glossary: readers say "bin", the wiki says "discard".

Its pairs are those of `[search.glossary]`, and those that writers type in the review. A question
with the word on the left is also searched with the words on the right. Evaluation runs import this
module in an environment without a database: see `glossary_table`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from wiki.pages.words import content_words, places, stem, stems

# Maximum alternative readings of a question.
READINGS = 3
# Maximum content words of a name; longer texts are sentences.
LONGEST = 4
# Maximum synonyms of a word.
MANY = 3
# Maximum words in a glossary.
MOST_WORDS = 500
# Words of a question that are searched for names, and words among which these are looked for.
WORDS = 60
_SCANNED = 500


class Pair(NamedTuple):
    """A reader's word, and the wiki's."""

    word: str
    other: str


class Glossary:
    """The words in use. Thread-safe."""

    def __init__(self, configured: Mapping[str, Iterable[str]] | None = None) -> None:
        self._configured = {word: list(others) for word, others in (configured or {}).items()}
        self.use(())

    def names(self, language: str) -> Mapping[str, Mapping[str, str]]:
        """The keys of the words and of their synonyms, see `own`."""
        words, by_language, _ = self._current
        if language not in by_language:
            by_language[language] = own(words, language)
        return by_language[language]

    @property
    def typed(self) -> tuple[Pair, ...]:
        """The pairs of writers in use."""
        return self._current[2]

    def use(self, typed: Iterable[Pair]) -> None:
        """Use these pairs of writers, beside those of the settings."""
        pairs = tuple(typed)
        by_language: dict[str, Mapping[str, Mapping[str, str]]] = {}
        # As one: another thread may use other pairs at the same time.
        self._current = merged(self._configured, pairs), by_language, pairs


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


def key(text: str, language: str = "") -> str:
    """Normalises the spellings of a name in a language; empty if it is too long."""
    key_stems = stems(text, language)
    return " ".join(key_stems) if len(key_stems) <= LONGEST else ""


def own(glossary: Mapping[str, Iterable[str]], language: str = "") -> dict[str, dict[str, str]]:
    """The keys of a team's own words; for each the keys of its synonyms in a language, and their
    spelling."""
    by_word: dict[str, dict[str, str]] = {}
    for word, others in glossary.items():
        by_word.setdefault(key(word, language), {}).update(
            {key(other, language): other for other in others}
        )
    return by_word


def rephrased(text: str, names: Mapping[str, Mapping[str, str]], language: str = "") -> list[str]:
    """A text with the spelling of another name in place of each of these names, at most READINGS;
    longer names first."""
    if not names:
        return []
    spoken = [
        (stem(word, language), start, end)
        for word, start, end in islice(places(text), _SCANNED)
        if content_words(word)
    ][:WORDS]
    texts = []
    for length in range(LONGEST, 0, -1):
        for at in range(len(spoken) - length + 1):
            phrase = spoken[at : at + length]
            others = names.get(" ".join(stem for stem, _, _ in phrase), {})
            before, after = text[: phrase[0][1]], text[phrase[-1][2] :]
            texts += [f"{before}{other}{after}" for other in others.values()]
    return texts[:READINGS]


def phrases(question: str, language: str = "") -> list[str]:
    """The keys of all phrases in a question that may be a name, in a language."""
    spoken = [stem(word, language) for word in content_words(question)[:WORDS]]
    return list(
        dict.fromkeys(
            " ".join(spoken[at : at + length])
            for length in range(LONGEST, 0, -1)
            for at in range(len(spoken) - length + 1)
        )
    )


def readings(
    words: Mapping[str, float], meanings: Mapping[str, Collection[str]]
) -> list[dict[str, float]]:
    """Rephrases a question with another name for something in it: "payment gateway fees" becomes
    "stripe fees". At most READINGS, longer names first.

    Args:
        words: the stems of the question and their weights.
        meanings: of the question's phrases.
    """
    wordings = []
    for phrase in sorted(meanings, key=lambda phrase: (-len(phrase.split()), phrase)):
        phrase_stems = phrase.split()
        weight = max(words.get(stem, 0.0) for stem in phrase_stems)
        others = {stem: w for stem, w in words.items() if stem not in phrase_stems}
        if weight:
            wordings += [
                dict.fromkeys(other.split(), weight) | others for other in sorted(meanings[phrase])
            ]
    return wordings[:READINGS]
