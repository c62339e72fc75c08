"""Scores of one answer."""

import re
from collections import Counter
from collections.abc import Iterator
from unicodedata import category, normalize

from gateway.answering.grounding.refusal import refuses
from gateway.answering.grounding.sentences import first
from gateway.knowledge.wiki.words import UNSPACED

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_UNSEEN = range(0xFE00, 0xFE10)  # they choose how the emoji before them is drawn
# Punctuation, symbols, and other signs that are not seen: in ASCII they are SQuAD's punctuation.
_MARKS = dict.fromkeys(
    c for c in range(0x20000) if category(chr(c)).startswith(("P", "S", "Cf")) or c in _UNSEEN
)
_SIGN = re.compile(f"[{UNSPACED}]")


def normalised(text: str) -> list[str]:
    """The words of `text` as SQuAD compares them: lower case, no punctuation, no articles.

    Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, and its evaluate-v1.1.py. Beyond ASCII
    punctuation is Unicode's and a Chinese sign is a word, as in MLQA (Lewis et al. 2020,
    https://arxiv.org/abs/1910.07475); so are Japanese and Thai ones, and what is written in two
    ways is one (NFKC).
    """
    plain = normalize("NFKC", text).lower().translate(_MARKS)
    return _ARTICLES.sub(" ", _SIGN.sub(r" \g<0> ", plain)).split()


def token_f1(answer: str, gold: str) -> float:
    """The harmonic mean of precision and recall of words, 0 to 1. SQuAD's F1."""
    written, wanted = normalised(answer), normalised(gold)
    common = sum((Counter(written) & Counter(wanted)).values())
    return 2 * common / (len(written) + len(wanted)) if common else 0.0


def containment(answer: str, gold: str) -> bool:
    """Does the answer hold the words of `gold`, as SQuAD compares them, one behind the other?

    A yes or no must be its first word: "there is no limit: yes, you can" holds both.
    """
    written, wanted = normalised(answer), normalised(gold)
    if wanted in (["yes"], ["no"]):
        return written[:1] == wanted
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(written)} "


# Of the words that an answer and the written one have, about half in common.
NEAR = 0.5
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# Numbers in them are none of the answer: steps of a list, addresses, targets of links.
_ASIDE = re.compile(r"^[^\S\n]*+\d+[.)]\s|https?://\S+|\]\((?:(?!\]\()[^)\s])*+\)", re.MULTILINE)


def is_right(answer: str, gold: str) -> bool:
    """Is it near enough to the written answer, as far as words can tell?

    It holds the written one, or has a token F1 of at least `NEAR` and every number of it: "in 30
    days" has most words of "in 10 days". Another name in a long answer is not noticed, and the same
    thing in other words is not believed: a judge sees both, see eval/scoring/judge.py.
    """
    if containment(answer, gold):
        return True
    answer, gold = normalize("NFKC", answer), normalize("NFKC", gold)
    missing = set(_NUMBER.findall(_ASIDE.sub(" ", gold))) - set(_NUMBER.findall(answer))
    return not missing and token_f1(answer, gold) >= NEAR


# What a sentence before the refusal may say: that it is sorry, or that the pages do not say it.
_EXCUSE = re.compile(
    r"\b(?:sorry|apolog\w+)\b"
    r"|^(?=.*(?:\b(?:no|not|nothing|cannot)|n\W?t)\b)"
    r".*\b(?:pages?|documentation|documents?|docs|wiki|text|context|information|mention\w*)\b",
    re.IGNORECASE | re.DOTALL,
)


def is_refusal(answer: str) -> bool:
    """Does it say that the pages do not answer, and no answer before that?

    As the product has it: an answer ends before the sentence that holds the refusal, whatever else
    that sentence says, or follows. With nothing before, it is a refusal; so it is behind nothing
    but excuses ("The pages do not say."), of which no page supports one. "Press Escape." and then
    the refusal is an answer, and so is "I don't have enough information about the price, but press
    Escape.", which is not the refusal.
    """
    for sentence in _sentences(answer):
        if refuses(sentence):
            return True
        if not _EXCUSE.search(sentence):
            return False
    return False


def admits_gap(answer: str) -> bool:
    """Does a sentence say that the pages leave something open, as one of half an answer does?"""
    return any(_EXCUSE.search(sentence) for sentence in _sentences(answer))


def _sentences(text: str) -> Iterator[str]:
    while text := text.strip():
        sentence = first(text) or text
        yield sentence
        text = text[len(sentence) :]
