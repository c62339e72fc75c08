"""Scores a single answer by its words."""

import re
from collections import Counter
from collections.abc import Iterator
from unicodedata import category, normalize

from gateway.answering.grounding.refusal import refuses
from gateway.answering.grounding.sentences import first
from wiki.pages.words import UNSPACED

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_UNSEEN = range(0xFE00, 0xFE10)  # variation selectors of emoji
# Punctuation, symbols and invisible characters; within ASCII the same as SQuAD's punctuation.
_MARKS = dict.fromkeys(
    c for c in range(0x20000) if category(chr(c)).startswith(("P", "S", "Cf")) or c in _UNSEEN
)
_SIGN = re.compile(f"[{UNSPACED}]")


def normalised(text: str) -> list[str]:
    """The words of `text` as SQuAD compares them: lower case, no punctuation, no articles.

    Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, and its evaluate-v1.1.py. Beyond ASCII,
    punctuation is Unicode's and each Chinese character is a word, as in MLQA (Lewis et al. 2020,
    https://arxiv.org/abs/1910.07475); so is each Japanese and Thai character. NFKC unifies
    variants.
    """
    plain = normalize("NFKC", text).lower().translate(_MARKS)
    return _ARTICLES.sub(" ", _SIGN.sub(r" \g<0> ", plain)).split()


def token_f1(answer: str, gold: str) -> float:
    """SQuAD's F1: the harmonic mean of word precision and recall, 0 to 1."""
    written, wanted = normalised(answer), normalised(gold)
    common = sum((Counter(written) & Counter(wanted)).values())
    return 2 * common / (len(written) + len(wanted)) if common else 0.0


def containment(answer: str, gold: str) -> bool:
    """Does the answer contain the words of `gold` consecutively, compared as in SQuAD?

    A yes or no must be its first word: "there is no limit: yes, you can" contains both.
    """
    written, wanted = normalised(answer), normalised(gold)
    if wanted in (["yes"], ["no"]):
        return written[:1] == wanted
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(written)} "


# An answer that shares about half its words with the reference answer is near.
NEAR = 0.5
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# Numbers to ignore: list numbering, URLs, link targets.
_ASIDE = re.compile(r"^[^\S\n]*+\d+[.)]\s|https?://\S+|\]\((?:(?!\]\()[^)\s])*+\)", re.MULTILINE)


def is_right(answer: str, gold: str) -> bool:
    """Does it match the reference answer, as far as words can tell?

    It contains the reference, or has a token F1 of at least `NEAR` and all its numbers: "in 30
    days" has most words of "in 10 days". A wrong name in a long answer is missed, and a paraphrase
    is rejected: a judge handles both, see eval/scoring/judge.py.
    """
    if containment(answer, gold):
        return True
    answer, gold = normalize("NFKC", answer), normalize("NFKC", gold)
    missing = set(_NUMBER.findall(_ASIDE.sub(" ", gold))) - set(_NUMBER.findall(answer))
    return not missing and token_f1(answer, gold) >= NEAR


_APOLOGY = re.compile(r"\b(?:sorry|apolog\w+)\b", re.IGNORECASE)
# The pages do not say something.
_GAP = re.compile(
    r"(?=.*(?:\b(?:no|not|nothing|cannot)|n\W?t)\b)"
    r".*\b(?:pages?|documentation|documents?|docs|wiki|text|context|information|mention\w*)\b",
    re.IGNORECASE | re.DOTALL,
)


def is_refusal(answer: str) -> bool:
    """Does it say that the pages do not answer, without an answer before that?

    As in the product, an answer ends before the sentence with the refusal, whatever else that
    sentence says or what follows. With nothing before it, or only apologies and "The pages do not
    say.", which no page supports, the text is a refusal. "Press Escape." followed by the refusal
    is an answer, and so is "I don't have enough information about the price, but press Escape.",
    which is not the refusal.
    """
    for sentence in _sentences(answer):
        if refuses(sentence):
            return True
        if not (_APOLOGY.search(sentence) or _GAP.match(sentence)):
            return False
    return False


def admits_gap(answer: str) -> bool:
    """Does a sentence say that the pages leave something open, as in half an answer?

    An apology alone does not: a chatbot without pages apologises, too.
    """
    return any(map(_GAP.match, _sentences(answer)))


def _sentences(text: str) -> Iterator[str]:
    while text := text.strip():
        sentence = first(text) or text
        yield sentence
        text = text[len(sentence) :]
