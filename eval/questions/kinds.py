"""Classifies questions by type."""

import re

WORDS = ("how", "what", "which", "why", "where", "when", "who")

_ASKED = re.compile(r"(?<![^.!?？؟\n])[^.!?？؟\n]*+[?？؟]")
_WORD = re.compile(rf"\b({'|'.join(WORDS)})\b")
_VERB = re.compile(
    r"\s*(?:am|are|can|could|did|do|does|has|have|is|may|might|must|shall|should|was|were|will|would)"
    r"(?:n'?t)?\b(?! not\b)"
)
# "was", "will" and "am" are also German, "is" Dutch, "has" Spanish, and "do" Portuguese. Hardly any
# question in these languages lacks all of these words.
_NOT_ENGLISH = re.compile(
    r"\b(?:das|der|ein|eine|ich|ist|kann|mein|meine|nicht|sie|und|wenn|zu"
    r"|de|dit|een|er|het|ik|mijn|niet|van|como|el|los|mi|para|por|que|uma?)\b"
)


def type_of(question: str) -> str:
    """Classify by the first line, or if it is not a question, by the first sentence with a question
    mark.

    `yes-no` if it begins with an English verb; else its first English question word; else `other`
    (such as another language) if there is a question mark, and `statement` if not.
    """
    text = question.lower().strip()
    match = _ASKED.search(text)
    for sentence in (text.partition("\n")[0], match.group() if match else ""):
        if _VERB.match(sentence) and not _NOT_ENGLISH.search(sentence):
            return "yes-no"
        if word := _WORD.search(sentence):
            return word.group()
    return "other" if match else "statement"
