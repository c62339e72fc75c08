"""Sentences without claims about the product: openers, lead-ins, closers, and refusals."""

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

_PAGES = (
    r"(?:page|pages|documentation|docs?|documents?|article|articles|wiki|knowledge base|source"
    r"|sources|section|sections|text|excerpts?|context|material|information|guide|manual|passages?"
    r"|help pages?|instructions?|dokumentation|seiten?|artikel|wiki|unterlagen|texte?|quellen"
    r"|anleitung(?:en)?|informationen|angaben|documents?|sources?|articles?|guide|pages?)"
)
# Names that a writer gives the pages in the prompt.
_OURS = (
    r"(?:the documentation|the docs|documentation (?:provided|given|I have)|this wiki|the wiki"
    r"|(?:this|that|the|these|those|neither|no) (?:articles?|help pages?)|these pages|those pages"
    r"|the pages|this page|pages? (?:provided|given|I have|I was given|at hand|in front of me)"
    r"|the provided (?:pages?|documents?|context|documentation)|the context|the sources"
    r"|the knowledge base)"
)
_SAYS = (
    r"(?:say|mention|cover|describe|explain|contain|include|address|discuss|document|specify|state"
    r"|tell|give|list|provide|answer|deal with|go into|offer|refer|name|talk about"
    r"|speak|indicate|identify|define|clarify)"
)
# "Nothing is deleted from the wiki" is a claim about the product.
_PASSIVE = (
    r"(?! (?:is|was|are|gets|will be|can be) (?!said|mentioned|stated|written|documented|described"
    r"|explained|given|known|told|found|covered))"
)
_SAGT = (
    r"\b(?:beschr|erwähn|dokument|behand|abgedeckt|erklär|angegeb|find|fund|antwort|hervor|auskunft"
    r"|sag|steh|enthalt|enthält|geb|gib|geh|informat|nenn)"
)
_NO = r"(?:do(?:es)?n'?t|do(?:es)? not|did(?:n'?t| not)|never|cannot|can'?t|nowhere|neither)"
_REFUSALS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_PAGES}\b[^.!?]{{0,80}}\b{_NO}\b[^.!?]{{0,30}}\b{_SAYS}",
        # Match "The pages don't have it", but not "The manual mode does not have a timer".
        rf"\b{_PAGES} (?:(?:provided|given|here|above|shown|I have) )?{_NO} (?:actually |really )?"
        r"(?:have|show|support|know)\b",
        rf"\b{_PAGES}\b[^.!?]{{0,60}}\b(?:say|says|contain|contains|have|has|give|gives|offer|offers"
        rf"|include|includes|provide|provides|is|are) (?:nothing|no (?:information|mention|details?"
        rf"|instructions?|answer|steps?|word|hint)\b|silent\b|unclear\b)",
        rf"\b{_PAGES}\b[^.!?]{{0,60}}\b(?:stops? short|lacks?|leaves? (?:it )?open)\b",
        rf"\b(?:un|not )clear from (?:the |these |this )?{_PAGES}\b",
        rf"\b(?:nothing{_PASSIVE}|no (?:information|mention|instructions?|details?|page|article"
        rf"|answer|steps?|guidance|explanation|description|word))\b[^.!?]{{0,60}}"
        rf"\b(?:{_PAGES}|about|on|for|there|here)\b",
        r"\b(?:is|are|was|were|'s|'re)(?:n'?t| not)\b[^.!?,]{0,30}\b(?:covered|mentioned|described"
        r"|documented|explained|addressed|discussed|specified|stated|answered"
        r"|part of|given|in (?:the|these|those|my|this) (?:docs?|pages?|documentation))",
        r"\b(?:not|nowhere|never) (?:covered|mentioned|described|documented|explained|addressed"
        r"|discussed|specified|stated|answered)\b",
        rf"\b(?:none|neither) (?:of )?(?:the |these |those )?{_PAGES}\b",
        rf"\b{_OURS}\b(?! (?:that|which|who))[^.!?]{{0,100}}(?:(?<!must )(?<!should )(?<!may )"
        rf"(?:n't|\b(?:not|never|no|neither)))\b[^.!?]{{0,60}}\b(?:{_SAYS}|have|about|on|how|whether"
        r"|which|what|when|why|anything|information|covered|mentioned|described|help)",
        rf"\b{_OURS}\b[^.!?]{{0,100}}\b(?:nothing|outside|beyond)\b",
        rf"^(?!if\b)[^.!?]{{0,120}}(?:n't|\b(?:not|nothing{_PASSIVE}|outside|beyond))\b"
        rf"[^.!?]{{0,60}}\b{_OURS}\b",
        r"\bI(?:'d| would) (?:rather not|have to|only be) guess(?:ing)?\b",
        r"\bwhat I (?:have|found|have found|was given)\b[^.!?]{0,40}\b(?:is|are|deals?) (?:only )?"
        r"(?:about|with|for|on)\b",
        rf"\b{_PAGES}\b[^.!?]{{0,60}}\b(?:only (?:describe|explain|deal|cover|speak|talk|say|give)"
        rf"|(?:is|are) (?:only )?(?:about|for)\b)",
        rf"\b{_PAGES}\b[^.!?]{{0,80}}\b(?:but|and) not (?:how|where|whether|why|when|what|which)",
        r"\b(?:in|from) what I (?:have|was given|can see)\b",
        r"\b(?:it|they|this) (?:does(?:n'?t| not)|do(?:n'?t| not)) (?:mention|tell|say|cover"
        r"|describe|explain|specify|address|discuss)\b",
        r"\bdo(?:es)?n'?t come up\b|\bI was only given\b|\bgiven to me\b|\bcontent I don't have\b",
        r"\bI (?:can(?:'?t|not)|could(?:n'?t| not)|am (?:not able|unable)|'m (?:not able|unable)"
        r"|was(?:n'?t| not) able|do(?:n'?t| not) (?:have|know|see|find)"
        r"|did(?:n'?t| not) find|have no|have nothing|found no|found nothing|find no|find nothing"
        r"|only have|only know|only see|can only help"
        r"|would (?:only )?be guessing|would have to guess|'d (?:only )?be guessing"
        r"|'d (?:rather not|have to) guess|won'?t guess)\b",
        r"\bI have\b[^.!?,]{0,60}\bonly\b",
        r"\bI'm (?:not able|unable|not sure)\b",
        r"\b(?:outside|beyond|out of)\b[^.!?]{0,30}\b(?:scope|documentation|docs|pages|material)\b",
        rf"^(?=.{{0,300}}{_SAGT})"
        r".{0,200}\b(?:dokumentation|seiten?|artikel|unterlagen|quellen|hilfe|anleitung)\b[^.!?]{0,90}"
        r"\b(?:nicht|kein(?:e|en|er|es)?|nichts|nur)\b",
        r"\b(?:dazu|darüber|hierzu)\b[^.!?]{0,60}\b(?:nicht|keine?|nichts)\b",
        r"\b(?:nicht|keine?n?|nichts)\b[^.!?]{0,80}\b(?:dokumentation|seiten?|artikel|unterlagen"
        r"|beschrieben|erwähnt|dokumentiert|behandelt|abgedeckt|erklärt|angegeben|finden|beantworten)",
        r"\bich (?:kann|habe|finde|weiß)\b[^.!?]{0,80}\b(?:nicht|kein(?:e|en)?|nichts)\b",
        r"\b(?:documentation|pages?|articles?|documents?|sources?|textes?|guide)\b[^.!?]{0,60}"
        r"\b(?:ne|n')\s?[^.!?]{0,40}\b(?:pas|rien|aucun|aucune|que)\b",
        r"\baucune? (?:des |de ces |de nos )?"
        r"(?:pages?|articles?|documents?|sources?|information)\b",
        r"\b(?:pages?|articles?|documents?) (?:fournie?s|données?)\b[^.!?]{0,40}\bn'en\b",
        r"\bje (?:ne|n')\s?[^.!?]{0,40}\b(?:pas|rien|aucun|aucune)\b",
        r"\b(?:n'est|ne sont|n'y)\b[^.!?]{0,30}\b(?:pas|aucun|rien)\b[^.!?]{0,40}"
        r"\b(?:décrit|mentionné|indiqué|documenté|expliqué|pages?|documentation)",
    )
]
_ENOUGH = re.compile(r"\b(?:enough|sufficient|necessary) information\b", re.IGNORECASE)
_POINTERS = re.compile(
    r"\b(?:pages?|docs|documentation|article|contact|ask|see|have a look|look at|check|try|support"
    r"|forum|administrator|help (?:page|site|cent(?:re|er))|let me know|tell me|rephrase)\b",
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


def is_refusal(sentence: str) -> bool:
    """Whether the sentence says, in any words, that the pages do not answer the question."""
    text = plain(sentence)
    return bool(_ENOUGH.search(text)) or any(pattern.search(text) for pattern in _REFUSALS)


def is_pointer(sentence: str) -> bool:
    """Does the sentence, next to a refusal, only point elsewhere?"""
    return bool(_POINTERS.search(plain(sentence)))
