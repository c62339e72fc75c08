"""The search query of a question: weighted words, and the text to embed."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.knowledge.wiki.asking import asked_stems, asked_words
from gateway.knowledge.wiki.words import stem, words

# More occurrences of a word add no weight: a pasted log repeats words a hundred times.
REPEATS = 3
# The weight of earlier questions' words in a follow-up question.
BEFORE = 0.5
# The number of earlier questions to consider.
TURNS = 3
# Maximum content words of a question that refers back.
FEW = 4

_POINTS_BACK = frozenset("it its they them their that those this these one ones there".split())  # noqa: SIM905
_THERE_IS = re.compile(r"\b(is|are|was|were)\s++there\b", re.I)
_GOES_ON = re.compile(
    r"\W*(and|but|or|so|then|also|ok|okay|(what|how) about|what if|why( not)?\W*$)\b", re.I
)


@dataclass(frozen=True)
class SearchQuery:
    """A question, prepared for the search."""

    words: dict[str, float]
    """The stems of its content words, with their weights."""
    spelt: dict[str, str]
    """The original word of each stem."""
    text: str
    """The text to embed."""


def asked(question: str, history: Sequence[str] = (), language: str = "") -> SearchQuery:
    """Builds the search query of `question`.

    Args:
        question: as a person wrote it. If it has several lines, the first is its title and
            counts twice.
        history: the person's earlier questions, oldest first. They count only if the question
            cannot stand alone ("And on a Mac?").
        language: the language of the pages, whose stems the words get.
    """
    weights = _weights(question, language)
    before = _before(question, history)
    for earlier in before:
        for term in _weights(earlier, language):
            weights.setdefault(term, BEFORE)
    texts = [*before, question]
    spelt = {stem(word, language): word for text in texts for word in asked_words(text)}
    return SearchQuery(weights, spelt, "\n".join(texts))


def _weights(question: str, language: str) -> dict[str, float]:
    counts = Counter(asked_stems(question, language))
    weights = {term: float(min(count, REPEATS)) for term, count in counts.items()}
    title, _, rest = question.strip().partition("\n")
    if rest.strip():
        for term in weights.keys() & asked_stems(title, language):
            weights[term] += 1
    return weights


def _before(question: str, history: Sequence[str]) -> list[str]:
    """The earlier questions that `question` follows up, oldest first."""
    questions: list[str] = []
    for earlier in reversed(history[-TURNS:]):
        if not is_follow_up(questions[0] if questions else question):
            break
        questions.insert(0, earlier)
    return questions


def is_follow_up(question: str) -> bool:
    """Whether the question depends on the previous question."""
    own = set(asked_stems(question))
    spoken = list(words(_THERE_IS.sub(r"\1", question)))
    if not _POINTS_BACK.isdisjoint(spoken) or _GOES_ON.match(question):
        return len(own) <= FEW
    return not own or (len(own) == 1 and not _is_whole(spoken))


def _is_whole(spoken: Sequence[str]) -> bool:
    """Whether a question with one content word names its subject: "What is an alias?"."""
    match spoken:
        case ["what" | "who", "is" | "are" | "s", first, *_]:
            # "What is the default?" and "What is needed?" refer to an earlier question.
            return first != "the" and not spoken[-1].endswith("ed")
        case ["where", "is" | "are" | "s" | "do" | "can", _, *_] | ["which", _, _, *_]:
            return True
        case ["can" | "is" | "are" | "do" | "does" | "should", _, _, *_]:
            return stem(spoken[-1]) in asked_stems(spoken[-1])
    return False
