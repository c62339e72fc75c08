"""Features of a sentence compared with the pages: the input of the support classifier."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gateway.answering.evidence import Evidence, ShownSection, Window
from gateway.answering.facts import CITED, Fact, facts
from gateway.answering.plain import plain
from gateway.knowledge.wiki.words import stem, words

# A page's sentence with this share of a sentence says the same or the opposite.
ALIKE = 0.5
CLAUSE = 2  # minimum stems of a clause
# A sentence whose best passage has a lower share than this resembles nothing.
THIN = 0.4
# The number of best windows that are searched for a sentence's facts.
NEAR = 3
_NEGATIONS_TEXT = """
not no never without cannot none neither nor nothing unable impossible don doesn didn isn aren
won can't wasn weren shouldn needn mustn unnecessary nicht kein keine keinen nie ohne pas jamais
sans aucun aucune
"""
_NEGATIONS = frozenset(_NEGATIONS_TEXT.split())
_NOT = re.compile(r"\b(can)'?t\b|\b(\w+n)'t\b", re.IGNORECASE)
_PAIRS = """
enable disable, enabled disabled, on off, allow prevent, allow block, allows prevents, allowed
forbidden, add remove, adds removes, before after, left right, above below, top bottom, more
less, always never, minimum maximum, least most, show hide, shows hides, check uncheck, tick
untick, checked unchecked, increase decrease, incoming outgoing, first last, open close, start
stop, starts stops, include exclude, includes excludes, required optional, needed unneeded,
manual automatic, manually automatically, online offline, local remote, server client, read
write, upload download, permanent temporary, permanently temporarily, public private, imap pop,
windows macos, windows linux, macos linux, windows mac, mac linux, up down, old new, older
newer, larger smaller, higher lower, faster slower, same different, all some, every some,
receive send, sent received, sender recipient, encrypt sign, import
export, safe unsafe, possible impossible, supported unsupported, true false, single multiple,
one both, inside outside, upper lower, subscribe unsubscribe, install uninstall, lock unlock,
mute unmute, connect disconnect, select deselect, collapse expand, encrypted unencrypted
"""
_OPPOSITES = [frozenset(pair.split()) for pair in _PAIRS.split(",")]
_ABSOLUTE_TEXT = """
all always every everything everyone any never only nothing nobody none everywhere fully
completely automatically immediately entirely exactly guaranteed alle immer nur jede jeder jedes
tous toujours toutes seulement
"""
_ABSOLUTE = frozenset(_ABSOLUTE_TEXT.split())
_CLAUSE = re.compile(r"[,;:()]\s|\s[-|]\s|\s(?:and|or|but|because|so|when|if|und|oder|et|ou)\s")
_REASONS_TEXT = """
because reason since due therefore weil deshalb parce
"""
_REASONS = frozenset(_REASONS_TEXT.split())
_PLATFORMS_TEXT = """
windows mac macos linux android ios iphone ipad ubuntu debian fedora
"""
_PLATFORMS = frozenset(_PLATFORMS_TEXT.split())
_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-Z][\w-]*[A-Za-z0-9]\b|\b\w*[a-z][A-Z]\w*\b")


@dataclass(frozen=True)
class Seen:
    """A sentence with its best passage."""

    values: dict[str, float]
    missing: tuple[Fact, ...]
    """Facts that are on no page of the prompt."""
    elsewhere: tuple[Fact, ...]
    """Facts that are on the pages, but not near the rest of the sentence."""
    opposed: str
    """The word that the passage reverses."""
    denies: bool
    """Whether it and the most similar sentence of the pages have a negation."""
    place: ShownSection | None
    window: Window | None
    stems: frozenset[str]


def see(sentence: str, evidence: Evidence) -> Seen:
    """Compare a sentence with the pages."""
    if not evidence.windows:
        return Seen({}, tuple(facts(sentence)), (), "", False, None, None, frozenset())
    sentence = CITED.sub("", sentence)
    shown = plain(sentence)
    stems = evidence.stems_of(shown)
    # Words from the question that are on no page are not claims: "on your Windows 11 PC".
    stems = stems - (evidence.asked_stems - evidence.stems) or stems
    shares = evidence.shares(stems)
    # Among windows with the same words, prefer the narrowest: it comes first.
    near = [evidence.windows[n] for n in np.argsort(-shares, kind="stable")[:NEAR]]
    window = near[0]
    place = evidence.places[window.place]
    nearest = int(np.argmax(np.where(evidence.narrow, shares, -1.0)))
    claimed = facts(sentence)
    lacking = [fact for fact in claimed if not evidence.text.has(fact)]
    repeated = [fact for fact in lacking if evidence.asked.has(fact)]
    missing = tuple(fact for fact in lacking if fact not in repeated)
    elsewhere = tuple(
        fact for fact in claimed if fact not in lacking and not any(w.text.has(fact) for w in near)
    )
    names = {stem(w, evidence.language) for name in _NAME.findall(shown) for w in words(name)}
    nowhere = stems - evidence.stems - evidence.asked_stems
    uncovered = stems - window.stems
    sentence_words, has = _words(shown), _words(plain(evidence.windows[nearest].text.text))
    is_alike = bool(shares[nearest] >= ALIKE)
    opposed = _opposed(sentence_words, has) if is_alike else ""
    negates, negated = bool(sentence_words & _NEGATIONS), bool(has & _NEGATIONS)
    clauses = [c for c in map(evidence.stems_of, _CLAUSE.split(shown)) if len(c) >= CLAUSE]
    share = float(shares.max())
    values = {
        "share": share,
        "weakest": min((float(evidence.shares(c).max()) for c in clauses), default=share),
        "thin": max(0.0, THIN - share),
        "length": min(len(stems), 25) / 10,
        "negation": float(negates != negated and is_alike),
        "opposed": float(bool(opposed)),
        "absolute": float(bool((sentence_words & _ABSOLUTE) - has)),
        "platform": float(bool((sentence_words & _PLATFORMS) - has)),
        "names_nowhere": float(min(3, len(names & nowhere))),
        "names_elsewhere": float(min(3, len(names & uncovered & evidence.stems))),
        "because": float(bool(sentence_words & _REASONS)),
        "repeated": float(bool(repeated)),
        "missing_number": _has(missing, "number"),
        "missing_literal": _has(missing, "address", "path", "option", "code"),
        "missing_label": _has(missing, "label"),
        "elsewhere_number": _has(elsewhere, "number"),
        "elsewhere_literal": _has(elsewhere, "address", "path", "option", "code"),
    }
    denies = is_alike and negates and negated
    return Seen(values, missing, elsewhere, opposed, denies, place, window, stems)


def _has(claimed: Iterable[Fact], *kinds: str) -> float:
    return float(any(fact.kind in kinds for fact in claimed))


def _words(shown: str) -> set[str]:
    return set(words(_NOT.sub(r"\1\2 not", shown)))


def _opposed(sentence_words: set[str], has: set[str]) -> str:
    for pair in _OPPOSITES:
        mine, theirs = sentence_words & pair, has & pair
        if len(mine) == 1 and theirs and not mine & theirs:
            return next(iter(mine))
    return ""
