"""What a question asks for."""

import re

WORDS = ("how", "what", "which", "why", "where", "when", "who")
KINDS = (*WORDS, "yes-no", "statement")

_ASKED = re.compile(r"[^.!?\n]*\?")
_WORD = re.compile(rf"\b({'|'.join(WORDS)})\b")
_VERB = re.compile(
    r"\s*(?:am|are|can|could|did|do|does|has|have|is|may|might|must|shall|should|was|were|will|would)"
    r"(?:n'?t)?\b(?! not\b)"
)


def type_of(question: str) -> str:
    """One of KINDS, by the first line, and where that asks nothing, by the first sentence with a
    question mark.

    `yes-no` where it begins with a verb; else its first question word; else `yes-no` where there is
    a question mark at all, and `statement` where there is none.
    """
    text = question.lower().strip()
    asked = _ASKED.search(text)
    for sentence in (text.partition("\n")[0], asked.group() if asked else ""):
        if _VERB.match(sentence):
            return "yes-no"
        if word := _WORD.search(sentence):
            return word.group()
    return "yes-no" if asked else "statement"
