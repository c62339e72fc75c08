"""Sentence boundaries, in streamed text and on pages."""

import re
from dataclasses import dataclass

from gateway.knowledge.wiki.words import content_words

# Marks that may stand between a full stop and what is behind it: more are no sentence's end.
REACH = 24

# Not after the number of a list item or a common abbreviation.
_STOP = rf"(?<!\d)(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)[.!?][\"')\]*_`]{{0,{REACH}}}+\s+"
# Chinese and Japanese need no space behind it. Marks that may as well open what follows do.
_CLOSING, _EITHER = "。！？」』）】”’)", "\"'\\]*_`"
_STOP += (
    rf"|[。！？][{_CLOSING}]{{0,{REACH}}}+"
    rf"(?:[{_EITHER}]{{0,{REACH}}}+\s+|(?=[^\s{_CLOSING}{_EITHER}]))"
)
_PROSE = re.compile(_STOP)
# A line of an answer ends a sentence too, but not at a colon: what is announced belongs to its
# announcement.
_ANSWER = re.compile(_STOP + r"|(?<![:\n\s])\s*\n+")

_MARK = re.compile(r"[.!?。！？\n]")
# What stands after this many sentences of a section cannot be quoted: grammars grow with it.
MOST = 80

_FENCE = re.compile(r"^\s*(```+|~~~+)")
_FENCED = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_COMMENT = re.compile(r"<!--(?:(?!<!--).)*?-->", re.DOTALL)
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s")
_ROW = re.compile(r"^\s*\|")
_TARGET = re.compile(r"\]\((?:[^)\]]|\](?!\())*\)")  # a row of arrows with links says nothing
_APART = re.compile(r"^\s*(?:#|>|!!!|\?\?\?|===|<)")


@dataclass(frozen=True)
class Unit:
    """A sentence of a page, or something that is only whole together: a code block, a table."""

    text: str
    gap: str
    """The white space after it; none behind a Chinese or Japanese full stop."""
    begins: bool
    """May a quotation begin here? At paragraphs: a later sentence alone misses what it is about."""


def first(text: str, seen: int = 0) -> str | None:
    """The first complete sentence of a growing answer with the space after it, or None.

    In its first `seen` characters no sentence was complete.
    """
    start = max(0, seen - REACH)
    if not _MARK.search(text, start):
        return None  # by far the most often: it is asked with each token
    end = _ANSWER.search(text, start)
    return text[: end.end()] if end else None


def units(text: str, most: int | None = MOST) -> list[Unit]:
    """A section's text, cut into what can be quoted. At most `most` units."""
    quotable: list[Unit] = []
    if "<!--" in text and not _FENCED.search(text):
        text = _COMMENT.sub("", text)  # readers of the page do not see it
    for block, begins in _blocks(text):
        for number, sentence in enumerate(_split(block)):
            bare = sentence.rstrip()
            worth = begins and number == 0 and bool(content_words(_TARGET.sub("", bare)))
            quotable.append(Unit(bare, sentence[len(bare) :], worth))
    return quotable[:most]


def _blocks(text: str) -> list[tuple[str, bool]]:
    """Paragraphs, list items, tables, code with what announces it; may a quotation begin there?"""
    blocks: list[tuple[str, bool]] = []
    fence = ""
    before = ""  # the line before this one

    def grow(line: str) -> None:
        blocks[-1] = (blocks[-1][0] + line, blocks[-1][1])

    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence or (mark and blocks):
            grow(line)  # code belongs to the sentence before it
            if mark:
                fence = "" if fence and mark.group(1).startswith(fence) else fence or mark.group(1)
        elif not line.strip():
            if blocks:
                grow(line)
        elif _ROW.match(line) and _ROW.match(before):
            grow(line)
        elif before.strip() and not any(p.match(line) for p in (_ITEM, _ROW, _APART)):
            grow(line)  # a paragraph that was wrapped by hand
        else:
            fence = mark.group(1) if mark else ""
            # A quotation does not begin in the middle of a list.
            last = blocks[-1][0] if blocks else ""
            inside = bool(_ITEM.match(line) and _ITEM.match(last))
            blocks.append((line, not inside and (not last or last.endswith("\n\n"))))
        before = line
    return [(block, begins) for block, begins in blocks if block.strip()]


def _split(block: str) -> list[str]:
    """The sentences of a block; a block with code or rows is one."""
    if "```" in block or "~~~" in block or _ROW.match(block):
        return [block]
    parts = []
    while (end := _PROSE.search(block)) and block[end.end() :]:
        parts.append(block[: end.end()])
        block = block[end.end() :]
    return [*parts, block]
