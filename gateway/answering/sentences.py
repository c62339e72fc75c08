"""Splits Markdown into sentences: streamed answers and the pages that support them.

Units are sentences of prose or of list items, table rows, headings and code blocks. They cover the
text without gaps, so that their offsets are offsets of the text.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

from wiki.pages.fences import OPENING, FencedCode

BlockKind = Literal["prose", "item", "row", "rule", "heading", "code"]

_HEADING = re.compile(r"[ \t]{0,3}#{1,6}(?:[ \t]|$)")
_ITEM = re.compile(r"[ \t]*(?:>[ \t]*)*(?:[-*+•][ \t]+|\(?\d{1,3}[.)][ \t]+|[a-zA-Z][.)][ \t]+)")
_ROW = re.compile(r"[ \t]*\|")
_RULE = re.compile(
    r"[ \t]*+(?:(?:\|[ \t]*+)?:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?|[-*_=]{3,})[ \t]*+$"
)

# Marks that may come between a full stop and the space after it.
_CLOSING = r"[\"')\]*_`”’»]*"
_CITED = r"(?:\s?\[\d{1,3}\])*"
_END = re.compile(rf"(?<![.!?…])[.!?…]++{_CLOSING}{_CITED}\s+|[。！？][」』）】”’)\"'*_`]*\s*")
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“„«*_`]+$")
# Characters to look back: more than the longest abbreviation, less than a line.
LONGEST = 40
_NEWLINE = re.compile(r"\n[ \t]*")
# Code and bold labels are indivisible: `Save As...` does not end a sentence.
_WHOLE = re.compile(r"`+[^`]*`+|\*\*[^*\n]{1,120}\*\*")
# Every sentence end contains one of these characters.
MARK = re.compile(r"[.!?…。！？\n]")

ABBREVIATIONS_TEXT = """
e.g i.e eg ie vs cf approx ca no nr fig mr mrs ms dr prof st incl excl max min resp z.b d.h u.a
bzw usw evtl ggf vgl abs art p.ex par.ex env cf n.b p pp ed vol ver
"""
ABBREVIATIONS = frozenset(ABBREVIATIONS_TEXT.split())


@dataclass(frozen=True, slots=True)
class Sentence:
    """A unit of a text, with the white space after it."""

    start: int
    end: int
    kind: BlockKind
    text: str


def split(text: str) -> list[Sentence]:
    """Splits `text` into units, in order; joined they equal the text."""
    units: list[Sentence] = []
    at = 0
    while at < len(text):
        end, kind = _block(text, at)
        if kind in ("prose", "item"):
            for stop in _stops(text, at, end, kind):
                units.append(Sentence(at, stop, kind, text[at:stop]))
                at = stop
        else:
            units.append(Sentence(at, end, kind, text[at:end]))
            at = end
    return units


def complete(text: str) -> str:
    """The sentences at the start of a growing text that later text cannot change."""
    sentences = split(text)
    return text[: sentences[-1].start] if sentences else ""


def _block(text: str, at: int) -> tuple[int, BlockKind]:
    """The end of the block that starts at `at`, including empty lines after it, and its kind."""
    end = _line_end(text, at)
    line = text[at:end].rstrip("\n")
    if OPENING.match(line):
        return _after(text, _fence_end(text, at)), "code"
    if not line.strip():
        return _after(text, end), "prose"
    if _RULE.match(line):
        return _after(text, end), "rule"
    if _HEADING.match(line):
        return _after(text, end), "heading"
    if _ROW.match(line):
        return _after(text, end), "row"
    kind: BlockKind = "item" if _ITEM.match(line) else "prose"
    while end < len(text) and not _begins_block(text, end):
        end = _line_end(text, end)
    return _after(text, end), kind


def _begins_block(text: str, at: int) -> bool:
    line = text[at : _line_end(text, at)].rstrip("\n")
    if not line.strip():
        return True
    return any(p.match(line) for p in (OPENING, _HEADING, _ITEM, _ROW, _RULE))


def _stops(text: str, start: int, end: int, kind: BlockKind) -> list[int]:
    """The sentence ends of a block."""
    stops: list[int] = []
    begin = start
    if kind == "item" and (marker := _ITEM.match(text, start, end)):
        begin = marker.end()
    spans = [match.span() for match in _WHOLE.finditer(text, begin, end)]
    starts = [span[0] for span in spans]
    for stop in _END.finditer(text, begin, end):
        if stop.end() >= end:
            break
        whole = bisect_left(starts, stop.start()) - 1  # the last one that starts before it
        if whole >= 0 and stop.end() < spans[whole][1]:
            continue
        if _is_end(text, begin, stop):
            stops.append(stop.end())
    # A line break ends a sentence, unless the sentence continues on the next line.
    last = start + len(text[start:end].rstrip())
    for newline in _NEWLINE.finditer(text, start, last):
        before, at = newline.span()
        ending = text[max(start, before - LONGEST) : before].rstrip()
        if not text[at].islower() and ending[-1:] not in (",", ";"):
            stops.append(at)
    return sorted({*stops, end})


def _is_end(text: str, start: int, stop: re.Match[str]) -> bool:
    after = text[stop.end()]
    if text[stop.start()] in "。！？":
        return True
    if text[stop.start()] in "!?…" or text[stop.start() + 1] == ".":
        return not after.islower()
    word = _WORD_BEFORE.search(text, max(start, stop.start() - LONGEST), stop.start())
    before = word[0].lower() if word else ""
    if before in ABBREVIATIONS:
        return False
    if before.isdigit():
        return not (after.islower() or after.isdigit())
    return not (len(before) == 1 and before.isalpha() and after.isupper())


def _fence_end(text: str, at: int) -> int:
    """The end of the code that starts at `at`."""
    code = FencedCode()
    while at < len(text) and code.takes(text[at : (end := _line_end(text, at))]):
        at = end
        if not code.fence:
            break
    return at


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _after(text: str, at: int) -> int:
    """The start of the next non-empty line."""
    while at < len(text):
        end = _line_end(text, at)
        if text[at:end].strip():
            break
        at = end
    return at
