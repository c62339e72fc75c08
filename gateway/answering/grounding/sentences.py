"""Sentence boundaries, in streamed text and on pages."""

import re
from dataclasses import dataclass

from wiki.pages.fences import FencedCode, fenced
from wiki.pages.words import content_words

# Maximum marks between a full stop and the space after it; with more, no sentence ends.
REACH = 24

# Not after the number of a list item or a common abbreviation.
_STOP = rf"(?<!\d)(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)[.!?][\"')\]*_`]{{0,{REACH}}}+\s+"
# Chinese and Japanese need no space after it. Marks that may also open the next sentence do.
_CLOSING, _EITHER = "。！？」』）】”’)", "\"'\\]*_`"
_STOP += (
    rf"|[。！？][{_CLOSING}]{{0,{REACH}}}+"
    rf"(?:[{_EITHER}]{{0,{REACH}}}+\s+|(?=[^\s{_CLOSING}{_EITHER}]))"
)
_PROSE = re.compile(_STOP)
# A line break ends a sentence of an answer too, but not after a colon: the introduction stays with
# the text that it introduces.
_ANSWER = re.compile(_STOP + r"|(?<![:\n\s])\s*\n+")

_MARK = re.compile(r"[.!?。！？\n]")
# Sentences of a section beyond this number cannot be quoted: grammars grow with them.
MOST = 80

_COMMENT = re.compile(r"<!--(?:(?!<!--).)*?-->", re.DOTALL)
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s")
_ROW = re.compile(r"^\s*\|")
_TARGET = re.compile(r"\]\((?:[^)\]]|\](?!\())*\)")  # a row of arrows with links has no content
_APART = re.compile(r"^\s*(?:#|>|!!!|\?\?\?|===|<)")


@dataclass(frozen=True)
class Unit:
    """A sentence of a page, or an indivisible block: code, a table."""

    text: str
    gap: str
    """The white space after it; none after a Chinese or Japanese full stop."""
    begins: bool
    """May a quotation start here? Only at paragraphs: a later sentence alone lacks its subject."""


def first(text: str, seen: int = 0) -> str | None:
    """The first complete sentence of a growing answer, with the space after it, or None.

    `seen`: the first characters, already known to contain no complete sentence.
    """
    start = max(0, seen - REACH)
    if not _MARK.search(text, start):
        return None  # the most common case: this runs for each token
    end = _ANSWER.search(text, start)
    return text[: end.end()] if end else None


def units(text: str, most: int | None = MOST) -> list[Unit]:
    """Splits a section's text into at most `most` quotable units."""
    quotable: list[Unit] = []
    if "<!--" in text and not any(fenced(text.splitlines())):
        text = _COMMENT.sub("", text)  # readers of the page do not see comments
    for block, begins in _blocks(text):
        for number, sentence in enumerate(_split(block)):
            bare = sentence.rstrip()
            worth = begins and number == 0 and bool(content_words(_TARGET.sub("", bare)))
            quotable.append(Unit(bare, sentence[len(bare) :], worth))
    return quotable[:most]


def _blocks(text: str) -> list[tuple[str, bool]]:
    """Paragraphs, list items, tables, and code with its introduction; may a quotation start
    there?"""
    blocks: list[tuple[str, bool]] = []
    code = FencedCode()
    before = ""  # the previous line

    def grow(line: str) -> None:
        blocks[-1] = (blocks[-1][0] + line, blocks[-1][1])

    for line in text.splitlines(keepends=True):
        if code.takes(line) and blocks:
            grow(line)  # code belongs to the preceding sentence
        elif not line.strip():
            if blocks:
                grow(line)
        elif _ROW.match(line) and _ROW.match(before):
            grow(line)
        elif before.strip() and not any(p.match(line) for p in (_ITEM, _ROW, _APART)):
            grow(line)  # a hard-wrapped paragraph
        else:
            # A quotation does not start in the middle of a list.
            last = blocks[-1][0] if blocks else ""
            inside = bool(_ITEM.match(line) and _ITEM.match(last))
            blocks.append((line, not inside and (not last or last.endswith("\n\n"))))
        before = line
    return [(block, begins) for block, begins in blocks if block.strip()]


def _split(block: str) -> list[str]:
    """Splits a block into sentences; a block with code or table rows stays whole."""
    if "```" in block or "~~~" in block or _ROW.match(block):
        return [block]
    parts = []
    while (end := _PROSE.search(block)) and block[end.end() :]:
        parts.append(block[: end.end()])
        block = block[end.end() :]
    return [*parts, block]
