"""Rewrites a sentence of documentation, with the same or with another meaning.

Both replace words and phrases from the tables in `rewrite.toml`. They are rules, not a language
model: some results are clumsy, and a few are labelled wrongly.
"""

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _pairs(name: str) -> list[tuple[str, str]]:
    return [(first, second) for first, second in _TABLES[name]]


SAME, REWORDED = _pairs("same"), _pairs("reworded")
OPPOSITE, RAISED = _pairs("opposite"), _pairs("raised")
PASSIVE: dict[str, str] = _TABLES["passive"]
PLATFORMS: list[list[str]] = _TABLES["platforms"]
# Words after which `not` or `always` can be inserted.
_AUXILIARY = re.compile(r"\b(is|are|can|will|should|was|were|must|may)\b(?! not\b)")
_CLAUSE = re.compile(r"^(If|When|Unless|Once|To|Before|After) ([^,:;]{8,90}), (?!and |or )(\S.*)$")
_TAIL = re.compile(r"^(\S.{15,}?),? (if|when|unless|only if|because|so that) ([^,:;]{8,100})\.$")
_BY = re.compile(r"^(\S.{2,60}?) (?:is|are) (\w+) by (\S.{2,60}?)\.$")
_NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)*(?![\w-])")
_NAME = re.compile(
    r"(?<=[a-z,] )[A-Z][A-Za-z0-9]+(?: [A-Z][A-Za-z0-9]+)*|\b\w+_\w+\b|--?[a-z][\w-]+"
)
_BETWEEN = re.compile(
    r"\bfrom (\S+(?: \S+)?) to (\S+)|(?<!\S)(\S+) (?:before|after|over|instead of) (\S+)"
)
_SUBJECT = re.compile(
    r"^((?:The |A |An |Each |This )?(?:[\w'-]+ ){0,4}?[\w'-]+) (is|are|can|must|will|has|should)\b"
)
_FILLER = re.compile(r"\b(?:also|simply|just|however,|therefore,|then|usually|Note that|very) ")


def alike(sentence: str, chance: Random) -> str:
    """Paraphrase the sentence."""
    for _ in range(chance.choice((1, 2, 2, 3))):
        sentence = chance.choice(_ALIKE)(sentence, chance)
    return _worded(sentence, chance)


def _turned(sentence: str, chance: Random) -> str:
    """Move an introductory clause to the end, or the reverse."""
    if match := _CLAUSE.match(sentence):
        first, clause, rest = match.groups()
        return f"{_upper(rest.rstrip('.'))} {first.lower()} {clause}."
    if match := _TAIL.match(sentence):
        rest, word, clause = match.groups()
        if word not in ("because", "so that"):
            return f"{_upper(word)} {clause}, {_lower(rest)}."
    return sentence


def _activated(sentence: str, chance: Random) -> str:
    """`X is read by Y` as `Y reads X`."""
    match = _BY.match(sentence)
    if match is None or match[2] not in PASSIVE:
        return sentence
    return f"{_upper(match[3])} {PASSIVE[match[2]]} {_lower(match[1])}."


def _filled(sentence: str, chance: Random) -> str:
    """Drop a filler word."""
    return _upper(_FILLER.sub("", sentence, count=1))


def _spoken(sentence: str, chance: Random) -> str:
    """Add filler words at the beginning, as in answers."""
    front = chance.choice(_TABLES["front"])
    return front + _lower(sentence) if chance.random() < 0.5 else sentence


def _worded(sentence: str, chance: Random) -> str:
    if chance.random() < 0.2:
        sentence = _phrase(sentence, REWORDED, chance, both=False)
    return _phrase(sentence, SAME, chance, both=True)


_ALIKE: tuple[Callable[[str, Random], str], ...] = (
    _worded, _worded, _turned, _activated, _filled, _spoken,
)  # fmt: skip


def negated(sentence: str, page: Sequence[str], chance: Random) -> str:
    """Negate: replace a word by its opposite, or add or drop a `not`."""
    if chance.random() < 0.6:
        other = _phrase(sentence, OPPOSITE, chance, both=True)
        if other != sentence:
            return other
    if match := re.search(r"\b(do|does|did) not |\b(do|does|did)n't | not\b|n't\b", sentence):
        return _joined(sentence[: match.start()], sentence[match.end() :])
    places = list(_AUXILIARY.finditer(sentence))
    if not places:
        return sentence
    place = chance.choice(places)
    word = chance.choice((" not", " not", " no longer", " never"))
    return sentence[: place.end()] + word + sentence[place.end() :]


def raised(sentence: str, page: Sequence[str], chance: Random) -> str:
    """Overstate: drop a condition, strengthen a quantifier, or add an `always`."""
    way = chance.random()
    if way < 0.35:
        if match := _CLAUSE.match(sentence):
            return chance.choice(("", "In every case, ")) + match[3]
        if match := _TAIL.match(sentence):
            return match[1] + chance.choice((".", " in every case.", " automatically."))
    if way < 0.8:
        other = _phrase(sentence, RAISED, chance, both=chance.random() < 0.2)
        if other != sentence:
            return other
    places = list(_AUXILIARY.finditer(sentence))
    if not places:
        return sentence
    place = chance.choice(places)
    word = chance.choice((" always", " only", " automatically", " always", " fully", " never"))
    return sentence[: place.end()] + word + sentence[place.end() :]


def mixed(sentence: str, page: Sequence[str], chance: Random) -> str:
    """Insert a number, a name, a subject or an object from another sentence of the page."""
    ways = [_other_number, _other_name, _other_subject, _exchanged, _other_end]
    chance.shuffle(ways)
    for way in ways:
        other = way(sentence, page, chance)
        if other != sentence:
            return other
    return sentence


def _other_number(sentence: str, page: Sequence[str], chance: Random) -> str:
    return _other(_NUMBER, sentence, page, chance)


def _other_name(sentence: str, page: Sequence[str], chance: Random) -> str:
    return _other(_NAME, sentence, page, chance)


def _other(pattern: re.Pattern[str], sentence: str, page: Sequence[str], chance: Random) -> str:
    places = list(pattern.finditer(sentence))
    others = {match[0] for text in page for match in pattern.finditer(text)}
    others = {other for other in others if other not in sentence}
    if not places or not others:
        return sentence
    place = chance.choice(places)
    return sentence[: place.start()] + chance.choice(sorted(others)) + sentence[place.end() :]


def _other_subject(sentence: str, page: Sequence[str], chance: Random) -> str:
    mine = _SUBJECT.match(sentence)
    if mine is None:
        return sentence
    others = sorted(
        {
            theirs[1]
            for text in page
            if (theirs := _SUBJECT.match(text)) and theirs[2] == mine[2] and theirs[1] != mine[1]
        }
        - {"It", "This", "You", "There", "They", "We", "That", "These", "If you", "If it"}
    )
    return chance.choice(others) + sentence[mine.end(1) :] if others else sentence


def _other_end(sentence: str, page: Sequence[str], chance: Random) -> str:
    """Replace the text after the last `to`, `in` or `with` by that of another sentence."""
    ways = [" to ", " in ", " with ", " for ", " by "]
    chance.shuffle(ways)
    for way in ways:
        head, separator, mine = sentence.rpartition(way)
        ends = [text.rpartition(way)[2] for text in page if way in text and text.endswith(".")]
        ends = [end for end in ends if end != mine and len(end.split()) <= 8]
        if separator and ends and len(mine.split()) <= 8:
            return head + way + chance.choice(ends)
    return sentence


def _exchanged(sentence: str, page: Sequence[str], chance: Random) -> str:
    """`from A to B` as `from B to A`; or exchange subject and object."""
    if match := _BY.match(sentence):
        verb = PASSIVE.get(match[2])
        if verb:
            return f"{_upper(match[1])} {verb} {_lower(match[3])}."
    places = list(_BETWEEN.finditer(sentence))
    if not places:
        return sentence
    match = chance.choice(places)
    first, second = (1, 2) if match[1] else (3, 4)
    a, b = match.span(first), match.span(second)
    end = match[second].rstrip(".,;")
    return (
        sentence[: a[0]] + end + sentence[a[1] : b[0]] + match[first]
        + sentence[b[0] + len(end) :]
    )  # fmt: skip


def misplaced(sentence: str, page: Sequence[str], chance: Random) -> str:
    """Replace a platform or product by another of the same kind."""
    for names in PLATFORMS:
        for name in names:
            if match := re.search(rf"\b{re.escape(name)}\b", sentence):
                other = chance.choice([other for other in names if other != name])
                return sentence[: match.start()] + other + sentence[match.end() :]
    return sentence


def reasoned(sentence: str, page: Sequence[str], chance: Random) -> str:
    """Add another sentence of the page as a reason."""
    if match := _TAIL.match(sentence):
        sentence = match[1] + "."
    others = [text for text in page if 5 <= len(text.split()) <= 18 and text != sentence]
    if not others:
        return sentence
    word = chance.choice(("because", "since", "so that", "which means that", "as"))
    return f"{sentence.rstrip('.')}, {word} {_lower(chance.choice(others))}"


def disordered(sentence: str, page: Sequence[str], chance: Random) -> str:
    """Swap two steps."""
    for word in (", then ", " and then ", ", and then "):
        first, separator, second = sentence.partition(word)
        if separator and 2 <= len(second.split()) <= 15:
            return f"{_upper(second.rstrip('.'))}{word}{_lower(first)}."
    return sentence


WRONG: dict[str, tuple[float, Callable[[str, Sequence[str], Random], str]]] = {
    "negation": (3.0, negated),
    "over_generalisation": (2.5, raised),
    "mix_up": (3.0, mixed),
    "wrong_platform": (3.0, misplaced),
    "wrong_reason": (0.7, reasoned),
    "order": (3.0, disordered),
}


def wrong(sentence: str, page: Sequence[str], chance: Random) -> tuple[str, str]:
    """A kind of mistake, and the sentence with it; the unchanged sentence if none applies."""
    ways = sorted(WRONG, key=lambda kind: -(chance.random() ** (1 / WRONG[kind][0])))
    for kind in ways:
        other = WRONG[kind][1](sentence, page, chance)
        if other != sentence:
            return kind, other
    return "", sentence


def _phrase(text: str, table: list[tuple[str, str]], chance: Random, both: bool) -> str:
    """Replace one phrase from a table."""
    padded = f" {text} "
    lower = padded.lower()
    ways = []
    for first, second in table:
        for mine, theirs in ((first, second), (second, first))[: 1 + both]:
            if not mine:
                continue
            at = lower.find(f" {mine} ")
            at = at if at >= 0 else lower.find(f" {mine}. ")
            at = at if at >= 0 else lower.find(f" {mine}, ")
            if at >= 0:
                ways.append((at + 1, mine, theirs))
    if not ways:
        return text
    at, mine, theirs = chance.choice(ways)
    start = at - 1
    return _upper(_joined(text[:start], theirs + text[start + len(mine) :]), text)


def _joined(head: str, tail: str) -> str:
    return " ".join(f"{head} {tail}".split()).replace(" .", ".").replace(" ,", ",")


def _upper(text: str, like: str = "A") -> str:
    return text[:1].upper() + text[1:] if like[:1].isupper() else text


def _lower(text: str) -> str:
    """Lower-case the sentence's first letter, except in a name."""
    first = text.split(" ", 1)[0]
    is_name = first[1:].lower() != first[1:] or first == "I"
    return text if is_name else first.lower() + text[len(first) :]
