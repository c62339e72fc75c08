"""Refusals and gaps in plain phrases, for models that do not write the prompt's refusal.

A sentence has a gap if it contains a phrase. Other wordings are claims, which the pages must
support like every claim.
"""

import re

from gateway.answering.plain import plain

_PHRASES = tuple(
    """i do not have|i do not see|i can not|i could not|i have no|unable to|documentation does not
docs do not|context does not|the pages do not|these pages do not|page does not say
provided does not|excerpts do not|sections do not|there is no information|no mention of
nothing about|not covered in|not mentioned|none of the pages
kann ich nicht|konnte ich|liegen mir|dokumentation nicht|dokumentation enthält kein|seiten nicht
je ne|je n'ai|documentation ne|pages ne|contexte ne|aucune des pages
no puedo|no tengo|no dispongo|no encontr|documentación no|las páginas no|contexto no""".replace(
        "\n", "|"
    ).split("|")
)
# "The pages do not say how long it takes, but it runs at night."
_CONCESSION = re.compile(
    r"\W*(?:although|though|while|even though|obwohl|bien que|même si|aunque|si bien)\b"
)
_TURN = re.compile(
    r";|,(?: \w+){0,4} (?:but|however|though|although|aber|jedoch|allerdings|mais|toutefois|pero"
    r"|aunque)\b"
)
# Questions to the reader, apologies, and where else to ask.
_ELSEWHERE = re.compile(
    r"\?|\b(?:contact\w*|support|consult\w*|ask|administrator\w*|help|recommend|suggest|sorry"
    r"|unfortunately|wende|frag\w*|hilf\w*|helfen|empfehl\w*|leid|demand\w*|recommand\w*|suggèr\w*"
    r"|désolée?|aide\w*|pregunt\w*|recomiend\w*|sugier\w*|siento|ayud\w*)\b"
)


def has_gap(sentence: str) -> bool:
    """Does a sentence say that the pages, or the writer, have no answer?"""
    text = _spelt_out(sentence)
    return any(phrase in text for phrase in _PHRASES)


def goes_on(sentence: str) -> bool:
    """Does a sentence with a gap also claim something: "..., but it runs at night"?"""
    text = _spelt_out(sentence)
    return bool(_CONCESSION.match(text) or _TURN.search(text))


def points_elsewhere(sentence: str) -> bool:
    """Does a sentence ask the reader something, or name another place to ask?"""
    return bool(_ELSEWHERE.search(_spelt_out(sentence)))


def _spelt_out(sentence: str) -> str:
    text = plain(sentence).casefold().replace("can't", "can not").replace("cannot", "can not")
    return text.replace("n't", " not")
