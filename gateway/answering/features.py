"""Features of a sentence compared with the pages: the input of the support classifier."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gateway.answering.evidence import Evidence, ShownSection, Window
from gateway.answering.facts import CITED, Fact, facts
from gateway.answering.plain import plain
from wiki.pages.words import stem, words

CLAUSE = 2  # minimum stems of a clause
# A sentence whose best passage has a lower share than this resembles nothing.
THIN = 0.4
# The number of best windows that are searched for a sentence's facts.
NEAR = 3
_CLAUSE = re.compile(r"[,;:()]\s|\s[-|]\s|\s(?:and|or|but|because|so|when|if|und|oder|et|ou)\s")
_REASONS_TEXT = """
because reason since due therefore weil deshalb parce
"""
_REASONS = frozenset(_REASONS_TEXT.split())
_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-Z][\w-]*[A-Za-z0-9]\b|\b\w*[a-z][A-Z]\w*\b")


@dataclass(frozen=True)
class Seen:
    """A sentence with its best passage."""

    values: dict[str, float]
    missing: tuple[Fact, ...]
    """Facts that are on no page of the prompt."""
    elsewhere: tuple[Fact, ...]
    """Facts that are on the pages, but not near the rest of the sentence."""
    place: ShownSection | None
    window: Window | None
    stems: frozenset[str]


def see(sentence: str, evidence: Evidence) -> Seen:
    """Compare a sentence with the pages."""
    if not evidence.windows:
        return Seen({}, tuple(facts(sentence)), (), None, None, frozenset())
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
    clauses = [c for c in map(evidence.stems_of, _CLAUSE.split(shown)) if len(c) >= CLAUSE]
    share = float(shares.max())
    values = {
        "share": share,
        "weakest": min((float(evidence.shares(c).max()) for c in clauses), default=share),
        "thin": max(0.0, THIN - share),
        "length": min(len(stems), 25) / 10,
        "names_nowhere": float(min(3, len(names & nowhere))),
        "names_elsewhere": float(min(3, len(names & uncovered & evidence.stems))),
        "because": float(bool(set(words(shown)) & _REASONS)),
        "repeated": float(bool(repeated)),
        "missing_number": _has(missing, "number"),
        "missing_literal": _has(missing, "address", "path", "option", "code"),
        "missing_label": _has(missing, "label"),
        "elsewhere_number": _has(elsewhere, "number"),
        "elsewhere_literal": _has(elsewhere, "address", "path", "option", "code"),
    }
    return Seen(values, missing, elsewhere, place, window, stems)


def _has(claimed: Iterable[Fact], *kinds: str) -> float:
    return float(any(fact.kind in kinds for fact in claimed))
