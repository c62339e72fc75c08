"""Neutralises text from pages and users so that it cannot imitate the prompt's markup.

Engines parse the special tokens of a chat template anywhere, even in the middle of a message:
llama.cpp and vLLM both turn `<|im_end|>` on a page into the token that ends the turn. So text that
could be a special token of any common model is rewritten before it enters a prompt, and so is the
delimiter of pages. `restored` gives an answer the wiki's original characters back.
"""

import re
from collections.abc import Iterator

# Turn marks of ChatML, Llama 3 and 4, Phi, DeepSeek (with the wide bar), and our page delimiters. A
# single run of spaces before the choice: two runs that compete for spaces take quadratic time.
_OPENING = r"\s*(?:[|｜]|(?:/\s*)?page\b)"
# Control tokens that look like tags: SmolLM, Gemma, T5, Mistral, Qwen, StarCoder. HTML elements
# have no underscore in their names; <s> is one, but is rewritten anyway.
_TAGS = (
    r"/?(?:s|unk|pad|bos|eos|cls|sep|mask|think|tools?|filename|reponame|image|img|unused\d+"
    r"|fim-[a-z]+|[a-z]+(?:[_-][a-z0-9]+)*_[a-z0-9]+)>"
)
_SYSTEM = r"/?SYS>>"
_NAMES = (
    r"/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_[A-Z]+|ARGS|IMG(?:_[A-Z]+)?|PREFIX|MIDDLE|SUFFIX"
    r"|CLS|SEP|PAD|MASK|UNK|gMASK|BOS|EOS)\]"
)
# The first character comes first, because it tells most texts apart in a quarter of the time.
_ANGLE = rf"(?=[\s|｜/a-z])(?=(?:{_OPENING}|{_TAGS}|{_SYSTEM}))"
_SQUARE = rf"(?=[/a-z])(?={_NAMES})"
_MARKS = "<["
_WRITTEN = ((f"<{_ANGLE}", "&lt;"), (rf"\[{_SQUARE}", "&#91;"))
_READ = ((f"&lt;{_ANGLE}", "<"), (f"&#91;{_SQUARE}", "["))
_THERE = [(re.compile(pattern, re.IGNORECASE), by) for pattern, by in _WRITTEN]
_BACK = [(re.compile(pattern, re.IGNORECASE), by) for pattern, by in _READ]


def neutral(text: str) -> str:
    """Rewrites everything in `text` that a tokenizer or a reader could take for the prompt's
    frame.

    8 MiB of `<` take 2.7 s: other threads run between the pieces.
    """
    for mark, (pattern, by) in zip(_MARKS, _THERE, strict=True):
        text = "".join(pattern.sub(by, text[start:end]) for start, end in pieces(text, mark))
    return text


def restored(text: str) -> str:
    """Restores the original characters of neutralised text in a model's output."""
    for pattern, by in _BACK:
        text = pattern.sub(by, text)
    return text


_PIECE = 2**12  # characters that a pattern reads at a time: 1 ms for the slowest text


def pieces(text: str, mark: str) -> Iterator[tuple[int, int]]:
    """Start and end of pieces of a text, cut before marks. No pattern may read past the next
    mark."""
    start = 0
    while (end := text.find(mark, start + _PIECE)) >= 0:
        yield start, end
        start = end
    yield start, len(text)
