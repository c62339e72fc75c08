"""What a question asks for."""

import re

WORDS = ("how", "what", "which", "why", "where", "when", "who")

_ASKED = re.compile(r"(?<![^.!?？؟\n])[^.!?？؟\n]*+[?？؟]")
_WORD = re.compile(rf"\b({'|'.join(WORDS)})\b")
_VERB = re.compile(
    r"\s*(?:am|are|can|could|did|do|does|has|have|is|may|might|must|shall|should|was|were|will|would)"
    r"(?:n'?t)?\b(?! not\b)"
)
# "was", "will" and "am" are German, too, "is" is Dutch, "has" Spanish, and "do" Portuguese. Hardly
# a question in these languages has none of these words.
_NOT_ENGLISH = re.compile(
    r"\b(?:das|der|ein|eine|ich|ist|kann|mein|meine|nicht|sie|und|wenn|zu"
    r"|de|dit|een|er|het|ik|mijn|niet|van|como|el|los|mi|para|por|que|uma?)\b"
)


def type_of(question: str) -> str:
    """By the first line, and where that asks nothing, by the first sentence with a question mark.

    `yes-no` where it begins with an English verb; else its first English question word; else
    `other`, as in another language, where there is a question mark at all, and `statement` where
    there is none.
    """
    text = question.lower().strip()
    match = _ASKED.search(text)
    for sentence in (text.partition("\n")[0], match.group() if match else ""):
        if _VERB.match(sentence) and not _NOT_ENGLISH.search(sentence):
            return "yes-no"
        if word := _WORD.search(sentence):
            return word.group()
    return "other" if match else "statement"
