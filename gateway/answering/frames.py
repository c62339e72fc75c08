"""Sentences without claims about the product: openers, lead-ins and closers."""

import re

from gateway.answering.plain import plain

_OPENERS = re.compile(
    r"^(?:(?:yes|no|sure|certainly|of course|absolutely|definitely|great question|good question"
    r"|hi|hello|hey(?: there)?|thanks?(?: you)?(?: for[^.!?]*)?|ok(?:ay)?|right|exactly|correct"
    r"|unfortunately|sorry|i'?m sorry(?: to hear that)?|no problem|no worries|happy to help"
    r"|glad to help|i(?:'d be| am|'m) (?:happy|glad) to help|that'?s (?:a )?(?:great|good)[^.!?]*"
    r"|ja|nein|gerne|natürlich|klar|sicher|guten tag|hallo|leider|oui|non|bonjour|bien sûr"
    r"|certainement|d'accord|désolée?)[\s,!.]*)+$",
    re.IGNORECASE,
)
_LEADS = re.compile(
    r"^(?:(?:here(?:'s| is| are)|below (?:is|are)|to do (?:this|that|so|it)"
    r"|you can do (?:this|that)|follow(?:ing)? (?:these|the) steps|let'?s (?:see|look)"
    r"|try (?:this|these|the following)"
    r"|(?:there (?:are|is) )?(?:one|two|three|four|a few|several|some|the following|these)"
    r" (?:things?|points?|steps?|ways?|places?|options?|possibilities)"
    r"|according to|based on|as (?:described|stated|explained|noted) in|in (?:short|summary|brief)"
    r"|the (?:documentation|docs|pages?|wiki) (?:says?|describes?|explains?|gives?|lists?)"
    r"|so geht'?s|gehen sie|laut|gemäß|hier (?:sind|ist)|voici|selon|d'après"
    r"|pour (?:cela|ce faire))"
    r"[^.!?]*)[:,.]?$",
    re.IGNORECASE,
)
# "Very likely not.", "Only in part.": an answer that the next sentence explains.
_HEDGES = re.compile(
    r"^(?:(?:very|most|quite|not|only|just|but|maybe|perhaps|probably|possibly|likely|usually"
    r"|normally|generally|almost|certainly|always|necessarily|exactly|really|directly|entirely"
    r"|completely|in|to|some|a|part|partly|partially|extent|yet|anymore|better"
    r"|it|that|this|is|was|depends|isn'?t|expected|normal|correct|right|possible"
    r"|nicht|nur|teilweise|leider|vermutlich|wahrscheinlich|direkt|ganz|zum|teil|pas|en|partie"
    r"|seulement|probablement)(?:[\s,]+|$))+$",
    re.IGNORECASE,
)
_CLOSERS = re.compile(
    r"^(?:i hope (?:this|that) helps|hope (?:this|that) helps|let me know if|feel free to"
    r"|if you (?:have|need) (?:any )?(?:more|other|further|additional)? ?(?:questions|help|details)"
    r"|good luck|that should (?:do it|help|fix it)|happy to help|is there anything else"
    r"|(?:please )?(?:see|check|read|refer to) (?:the )?(?:source|page|documentation|docs)\b"
    r"|viel erfolg|ich hoffe|bonne chance|j'espère|n'hésitez pas)",
    re.IGNORECASE,
)


def is_frame(sentence: str) -> bool:
    """Whether the sentence is an opener, a lead-in or a closer."""
    text = plain(sentence).strip()
    if not re.search(r"\w", text):
        return True
    bare = text.strip(" .!:,-")
    return any(pattern.match(bare) for pattern in (_OPENERS, _HEDGES)) or bool(
        _LEADS.match(text) or _CLOSERS.match(text)
    )
