"""Claims: the assertion in each sentence of an answer, and whether the pages support it.

The rules are a logistic regression over the features of `features.see`, with weights that `python
-m research.studies.check` fitted on labelled answers (research/notebook.md, "The check").
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from gateway.answering.evidence import Evidence, ShownSection
from gateway.answering.facts import facts
from gateway.answering.features import Seen
from gateway.answering.frames import is_frame
from gateway.answering.grounding.confidence import probability
from gateway.answering.grounding.refusal import refuses as states_refusal
from gateway.answering.phrases import goes_on, has_gap, points_elsewhere
from gateway.answering.plain import plain
from gateway.answering.sentences import Sentence, split
from wiki.pages.asking import language
from wiki.pages.words import words

Verdict = Literal["supported", "unsupported", "contradicted", "none"]

_LINKED = re.compile(r"\W{0,9}\[[^\[\]\n]*\]\([^()\n]*\)\W{0,9}")
_MARKER = re.compile(r"[ \t]*(?:>[ \t]*)*(?:[-*+•][ \t]+|\(?\d{1,3}[.)][ \t]+)?")
REFUSING = "refusal"  # the reason of a sentence that refuses to answer
# Minimum words of a self-contained sentence: shorter ones claim nothing ("To check:", "Click it.").
FEWEST = 2
# Facts that show that a refusal also asserts something.
_NAMED = frozenset({"label", "address", "path", "option", "code"})
# A passage with this share of a sentence has the same topic: differences contradict the sentence.
SAME = 0.55

BIAS = 0.69
WEIGHTS: Mapping[str, float] = {
    "share": 0.29,
    "weakest": 1.38,
    "thin": -3.21,
    "length": 0.76,
    "names_nowhere": -2.51,
    "names_elsewhere": -0.47,
    "because": -0.47,
    "repeated": -0.78,
    "missing_number": -4.72,
    "missing_literal": -4.68,
    "missing_label": -2.89,
    "elsewhere_number": -1.44,
    "elsewhere_literal": -1.12,
}
# Sentences below this score are marked.
THRESHOLD = 0.65


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of an answer, and the outcome of its check."""

    start: int
    end: int
    """A half-open range of characters of the content."""
    verdict: Verdict
    reason: str
    """A keyword for the reason, and the fact in question: `number: 14`. Empty if nothing is
    wrong."""
    source: str
    """The address of the section that it was compared with."""
    score: float | None
    """The probability that the pages support it, 0 to 1; None if it claims nothing."""

    def shown(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Draft:
    """A sentence before its verdict."""

    sentence: Sentence
    start: int
    end: int
    claims: bool
    """Does it assert something about the product?"""
    refuses: bool
    weak: bool
    """A lead-in that may be a claim; only a missing fact gets it marked."""
    answers: bool
    """Does it say something about the product, other than where to look or what pages cover?"""
    seen: Seen | None = None

    @property
    def text(self) -> str:
        return self.sentence.text[self.start - self.sentence.start : self.end - self.sentence.start]

    @property
    def place(self) -> ShownSection | None:
        return self.seen.place if self.seen else None


def drafts(text: str, start: int = 0) -> list[Draft]:
    """The sentences of `text`, which starts at `start` in the content."""
    drafted: list[Draft] = []
    sentences = split(text)
    for number, sentence in enumerate(sentences):
        bare = sentence.text.rstrip()
        if not bare.strip():
            continue
        marker = _MARKER.match(bare) if sentence.kind == "item" else None
        begin = sentence.start + (marker.end() if marker else 0)
        body = bare[begin - sentence.start :]
        following = sentences[number + 1 : number + 2]
        is_head = sentence.kind == "row" and bool(following) and following[0].kind == "rule"
        is_given = states_refusal(body)  # as the prompt asks for it, in any language
        refuses = sentence.kind in ("prose", "item") and (is_given or has_gap(body))
        claims = not (
            is_head
            or refuses
            or sentence.kind in ("rule", "heading")
            or len(set(words(plain(body)))) < FEWEST
            or _is_title(body)
            or is_frame(body)
        )
        # "The page has nothing on X, but Y is done like this.": a refusal and a claim.
        also = refuses and not is_given and (goes_on(body) or _names(body.split(",")[1:]))
        is_advice = sentence.kind != "code" and points_elsewhere(body)
        answers = also or (claims and not is_advice and not _LINKED.fullmatch(body))
        weak = also or (claims and body.endswith(":"))
        claims = claims or also
        end = sentence.start + len(bare)
        placed = replace(sentence, start=start + sentence.start, end=start + sentence.end)
        span = start + begin, start + end
        drafted.append(Draft(placed, *span, claims, refuses, weak, answers))
    return drafted


def verdict_of(draft: Draft, seen: Seen, score: float, threshold: float) -> Claim:
    """Turns a sentence and its score into a claim."""
    source = seen.place.url if seen.place else ""
    if score >= threshold:
        return Claim(draft.start, draft.end, "supported", "", source, round(score, 3))
    if draft.weak and not seen.missing:
        return Claim(draft.start, draft.end, "none", "", "", None)
    reason, opposes = _why(seen)
    verdict: Verdict = "contradicted" if opposes else "unsupported"
    return Claim(draft.start, draft.end, verdict, reason, source, round(score, 3))


def score_of(seen: Seen, is_foreign: bool = False) -> float:
    """The probability that the pages support the sentence, 0 to 1.

    A different language's words prove nothing: then only facts count.
    """
    if is_foreign:
        return 0.1 if any(f.kind in _UNIVERSAL for f in seen.missing) else 0.75
    logit = BIAS + sum(weight * seen.values.get(name, 0.0) for name, weight in WEIGHTS.items())
    return probability(logit)


def added(score: float, logit: float) -> float:
    """Shifts a probability by a logit."""
    score = min(max(score, 1e-9), 1 - 1e-9)
    return probability(math.log(score / (1 - score)) + logit)


_UNIVERSAL = frozenset({"number", "address", "path", "option", "code"})


def foreign(text: str, evidence: Evidence) -> bool:
    """Is the answer in a different language from the pages?"""
    return language(plain(text)) != evidence.language


def summary(claims: Sequence[Claim]) -> Verdict:
    """The worst verdict of an answer's claims; "none" without claims."""
    verdicts = {claim.verdict for claim in claims}
    order: tuple[Verdict, ...] = ("contradicted", "unsupported", "supported")
    return next((verdict for verdict in order if verdict in verdicts), "none")


def refuses(drafted: Sequence[Draft]) -> bool:
    """Is it a refusal, however worded? An honest partial answer, which also claims something, is
    not."""
    return any(draft.refuses for draft in drafted) and not any(draft.answers for draft in drafted)


def _why(seen: Seen) -> tuple[str, bool]:
    """The reason why a sentence is marked, and whether the passage contradicts it."""
    is_same = seen.values.get("share", 0.0) >= SAME
    if seen.missing:
        fact = seen.missing[0]
        return f"{fact.kind}: {fact.text}", is_same and fact.kind == "number"
    if seen.elsewhere:
        fact = seen.elsewhere[0]
        return f"{fact.kind}: {fact.text}", is_same
    return "words", False


def _names(texts: Iterable[str]) -> bool:
    """Does any text name a setting, a command, a label, a path or an address?"""
    return any(fact.kind in _NAMED for text in texts for fact in facts(text))


def _is_title(body: str) -> bool:
    """`**Steps:**`, `**Windows**`: bold, alone on its line."""
    return bool(re.fullmatch(r"(\*\*|__)[^*_\n]{1,80}\1:?", body.strip()))
