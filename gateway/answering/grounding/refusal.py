"""The refusal sentence, as models and the gateway write it."""

import re

from gateway.answering.grounding.wording import REFUSALS

# `prompt.REFUSAL` and close variants.
_WORDS = "I do(?:n't| not) have enough information to answer (?:that|this|(?:the|your) question)"
# Words may be surrounded by any marks: curly apostrophes (also the letter ʼ), quotes, Markdown.
_MARKED = _WORDS.replace("'", r"[\W_ʼ]*").replace(" ", r"[\W_]+")
_REFUSAL = re.compile(rf"(?<![^\W_]){_MARKED}(?![^\W_])", re.IGNORECASE)


def refuses(sentence: str) -> bool:
    """Whether the text contains the refusal, whatever else it says."""
    # This runs for each sentence of a stream: searching for one word first takes a tenth of the
    # time.
    if "enough" in sentence.lower() and _REFUSAL.search(sentence) is not None:
        return True
    return any(refusal in sentence for refusal in REFUSALS)
