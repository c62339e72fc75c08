"""The search query of a question: weighted words, and the text to embed."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.knowledge.wiki.asking import asked_stems, asked_words
from gateway.knowledge.wiki.words import stem, words

# A word that stands more often does not say more: a pasted log repeats words a hundred times.
REPEATS = 3
# The words of the questions before count half in a follow-up question.
BEFORE = 0.5
# Questions that are looked back at.
TURNS = 3
# A question that points back has at most so many content words of its own.
FEW = 4

_POINTS_BACK = frozenset("it its they them their that those this these one ones there".split())  # noqa: SIM905
_THERE_IS = re.compile(r"\b(is|are|was|were)\s++there\b", re.I)
_GOES_ON = re.compile(
    r"\W*(and|but|or|so|then|also|ok|okay|(what|how) about|what if|why( not)?\W*$)\b", re.I
)


@dataclass(frozen=True)
class Asked:
    """A question, ready to be searched for."""

    words: dict[str, float]
    """The stems of its content words, and how much each counts."""
    spelt: dict[str, str]
    """The word that each stem was made of."""
    text: str
    """What is embedded."""


def asked(question: str, history: Sequence[str] = ()) -> Asked:
    """Builds the search query of `question`.

    Args:
        question: as a person wrote it. Where it has several lines, the first is its title and
            counts twice.
        history: what the same person asked before, oldest first. It counts only where the question
            cannot stand alone ("And on a Mac?").
    """
    found = _weights(question)
    before = _before(question, history)
    for earlier in before:
        for said in _weights(earlier):
            found.setdefault(said, BEFORE)
    texts = [*before, question]
    spelt = {stem(word): word for text in texts for word in asked_words(text)}
    return Asked(found, spelt, "\n".join(texts))


def _weights(question: str) -> dict[str, float]:
    counts = Counter(asked_stems(question))
    found = {said: float(min(count, REPEATS)) for said, count in counts.items()}
    title, _, rest = question.strip().partition("\n")
    if rest.strip():
        for said in found.keys() & asked_stems(title):
            found[said] += 1
    return found


def _before(question: str, history: Sequence[str]) -> list[str]:
    """The questions that `question` goes on from, oldest first."""
    found: list[str] = []
    for earlier in reversed(history[-TURNS:]):
        if not is_follow_up(found[0] if found else question):
            break
        found.insert(0, earlier)
    return found


def is_follow_up(question: str) -> bool:
    """Whether the question depends on the previous question."""
    own = set(asked_stems(question))
    said = list(words(_THERE_IS.sub(r"\1", question)))
    if not _POINTS_BACK.isdisjoint(said) or _GOES_ON.match(question):
        return len(own) <= FEW
    return not own or (len(own) == 1 and not _is_whole(said))


def _is_whole(said: Sequence[str]) -> bool:
    """Whether a question with one content word names its subject: "What is an alias?"."""
    match said:
        case ["what" | "who", "is" | "are" | "s", first, *_]:
            # "What is the default?" and "What is needed?": of what was asked before.
            return first != "the" and not said[-1].endswith("ed")
        case ["where", "is" | "are" | "s" | "do" | "can", _, *_] | ["which", _, _, *_]:
            return True
        case ["can" | "is" | "are" | "do" | "does" | "should", _, _, *_]:
            return stem(said[-1]) in asked_stems(said[-1])
    return False
