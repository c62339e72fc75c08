"""Scores of one answer."""

import re
import string
from collections import Counter

from gateway.grounding.prompt import REFUSAL

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


def is_refusal(answer: str) -> bool:
    """Does it say that the pages do not answer, and nothing before it?"""
    return answer.strip().lower().startswith(REFUSAL.rstrip(".").lower())
