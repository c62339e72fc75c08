"""Scores of one answer."""

import re
import string
from collections import Counter

from gateway.grounding.refusal import refuses
from gateway.grounding.sentences import first

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> list[str]:
    """The words of `text` as SQuAD compares them: lower case, no punctuation, no articles.

    Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, and its evaluate-v1.1.py.
    """
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def token_f1(answer: str, gold: str) -> float:
    """The harmonic mean of precision and recall of words, 0 to 1. SQuAD's F1."""
    said, wanted = normalised(answer), normalised(gold)
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted)) if common else 0.0


def containment(answer: str, gold: str) -> bool:
    """Does the answer hold the words of `gold`, as SQuAD compares them, one behind the other?"""
    said, wanted = normalised(answer), normalised(gold)
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(said)} "


# Of the words that an answer and the written one have, about half in common.
NEAR = 0.5
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# Numbers in them are none of the answer: steps of a list, addresses, targets of links.
_ASIDE = re.compile(r"^\s*\d+[.)]\s|https?://\S+|\]\([^)\s]*\)", re.MULTILINE)


def is_right(answer: str, gold: str) -> bool:
    """Is it near enough to the written answer, as far as words can tell?

    It holds the written one, or has a token F1 of at least `NEAR` and every number of it: "in 30
    days" has most words of "in 10 days". Another name in a long answer is not noticed, and the same
    thing in other words is not believed: a judge sees both, see eval/scoring/judge.py.
    """
    if containment(answer, gold):
        return True
    missing = set(_NUMBER.findall(_ASIDE.sub(" ", gold))) - set(_NUMBER.findall(answer))
    return not missing and token_f1(answer, gold) >= NEAR


# What a sentence before the refusal may say: that it is sorry, or that the pages do not say it.
_EXCUSE = re.compile(
    r"\b(?:sorry|apolog\w+)\b"
    r"|(?=.*(?:\b(?:no|not|nothing|cannot)|n\W?t)\b)"
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
    while answer := answer.strip():
        sentence = first(answer) or answer
        if refuses(sentence):
            return True
        if not _EXCUSE.search(sentence):
            return False
        answer = answer[len(sentence) :]
    return False
