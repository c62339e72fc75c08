"""Quotations: a passage as a reader may see it by itself, in the words of its page.

A quotation is one continuous part of a section. A list, a table, code or a paragraph of which it is
only a part has the mark GAP where the rest was. What its last line announces comes with it.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from wiki.index.passages import BOLD, WORDS, Passage, passages
from wiki.pages.blocks import alone, is_table
from wiki.pages.fences import OPENING, FencedCode
from wiki.pages.page import Page

GAP = "[…]"
# Maximum words that are added to a passage, and of the rest of a section.
ADDED = WORDS
REST = 3 * WORDS
# The end of a line that announces the text below it.
_ANNOUNCES = re.compile(r"[:：][*_`)]{0,4}$|\b(?:the|as) (?:following|follows)\b[^.!?]{0,80}\.?$")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+\S")


class Quotation(NamedTuple):
    text: str
    """Markdown, as it can be shown by itself."""
    rest: str
    """The text that follows in the definition or section, up to REST words; empty if there is
    none."""


class _Block(NamedTuple):
    """A paragraph, list, table or code: the positions of its lines in the section."""

    start: int
    end: int
    kind: str
    """"list", "table", "code" or "text"."""


def quotation(page: Page, passage: Passage) -> Quotation:
    """A passage of a page, with what its last line announces."""
    body = page.sections[passage.section].body if page.sections else ""
    span = _span(page, passage, body)
    if span is None:
        return Quotation(alone(passage.text), "")
    start, end = span
    of_section = _blocks(body)
    end = _with_announced(body, of_section, _completed(body, of_section, start, end))
    last = _limited(body, end, max(end, _end(page, passage, body)), REST)
    text = _shown(body, of_section, start, end)
    rest = _shown(body, of_section, end, last) if body[end:last].strip() else ""
    return Quotation(text, rest.removeprefix(f"{GAP}\n\n"))


def _end(page: Page, passage: Passage, body: str) -> int:
    """The end of the definition that a passage is in, or else of its section."""
    if not passage.term:
        return len(body)
    of_term = [
        span[1]
        for other, span in zip(passages(page), _spans(page), strict=True)
        if span and _place(other) == _place(passage)
    ]
    return max(of_term, default=len(body))


def _place(passage: Passage) -> tuple[int, str, str]:
    return passage.section, passage.anchor, passage.term


def _span(page: Page, passage: Passage, body: str) -> tuple[int, int] | None:
    """The positions of a passage in the body of its section; None if it is not in it."""
    for other, span in zip(passages(page), _spans(page), strict=True):
        if other is passage or other == passage:
            return span
    start = body.find(passage.text)  # two passages that continue each other
    return (start, start + len(passage.text)) if passage.text and start >= 0 else None


@lru_cache(maxsize=64)
def _spans(page: Page) -> list[tuple[int, int] | None]:
    """The position of each passage in the body of its section.

    The passages of a section follow each other, without white space and apart from repeated fences
    and heads of tables.
    """
    spans: list[tuple[int, int] | None] = []
    section, dense, places, at = -1, "", [], 0
    for passage in passages(page):
        if passage.section != section:
            section, at = passage.section, 0
            body = page.sections[section].body if page.sections else ""
            places = [n for n, sign in enumerate(body) if not sign.isspace()]
            dense = "".join(body.split())
        texts = ["".join(text.split()) for text in _unframed(passage.text)]
        here = next((text for text in texts if text and dense.startswith(text, at)), texts[0])
        start = dense.find(here, at) if here else -1
        spans.append(None)
        if start >= 0:
            at = start + len(here)
            spans[-1] = places[start], places[at - 1] + 1
    return spans


def _unframed(text: str) -> Iterator[str]:
    """A passage as it is; then without the fences or the head that were added to it."""
    yield text
    lines = text.split("\n")
    code = FencedCode()
    for line in lines[:-1]:
        code.takes(line)
    is_closed = bool(code.fence) and lines[-1].strip() == code.closing.strip()
    if is_closed:
        yield "\n".join(lines[:-1])
    if OPENING.match(lines[0]):
        yield "\n".join(lines[1:])
        if is_closed:
            yield "\n".join(lines[1:-1])
    if is_table(lines):
        yield "\n".join(lines[2:])


def _completed(body: str, of_section: list[_Block], start: int, end: int) -> int:
    """The end of a quotation with the rest of a list, table, code or paragraph that begins in
    it."""
    for block in of_section:
        if start <= block.start < end < block.end:
            return block.end if len(body[end : block.end].split()) <= ADDED else end
    return end


def _with_announced(body: str, of_section: list[_Block], end: int) -> int:
    """The end of a quotation with what its last line announces."""
    least = end
    while _announces(body[:end]) and body[end:].strip():
        start = end + len(body[end:]) - len(body[end:].lstrip())
        block = next(block for block in of_section if block.end > start)
        if block.kind == "code" and block.start < end:
            break  # a line of code
        end = _limited(body, least, block.end, ADDED)
        if end < block.end:
            break
        # Further definitions of a list.
        for after in of_section if BOLD.fullmatch(body[block.start : block.end]) else ():
            if after.start >= end:
                if len(body[least : after.end].split()) > ADDED:
                    break
                end = after.end
    return end


def _announces(text: str) -> bool:
    line = text.rstrip().rpartition("\n")[2]
    return _ANNOUNCES.search(line) is not None or BOLD.fullmatch(line) is not None


def _limited(body: str, start: int, end: int, most: int) -> int:
    """The end of the last line that starts before `most` words after `start`."""
    words = 0
    for line in re.finditer(r"[^\n]+", body[start:end]):
        words += len(line[0].split())
        if words >= most:
            return start + line.end()
    return end


def _blocks(body: str) -> list[_Block]:
    """The blocks of a section; the items of a list are one block."""
    found: list[_Block] = []
    code = FencedCode()
    at = 0
    is_open = False
    for line in body.split("\n"):
        was_open = bool(code.fence)
        is_code = code.takes(line)
        end = at + len(line)
        before = found[-1] if found else None
        if not line.strip() and not is_code:
            is_open = False
        elif before is None or not _continues(line, before, is_open, is_code, was_open):
            kind = "code" if is_code else "list" if _ITEM.match(line) else "text"
            found.append(_Block(at, end, kind))
            is_open = True
        else:
            kind = before.kind
            if kind == "text" and is_table(body[before.start : end].split("\n")):
                kind = "table"
            found[-1] = _Block(before.start, end, kind)
            is_open = True
        at = end + 1
    return found


def _continues(line: str, before: _Block, is_open: bool, is_code: bool, was_open: bool) -> bool:
    """Does a line continue the block before it? `is_open`: there is no blank line between."""
    if before.kind == "list":
        is_inner = line[:1].isspace() or bool(_ITEM.match(line)) or was_open
        return is_inner or (is_open and not is_code)
    if is_code:
        return was_open
    return is_open and before.kind != "code" and not _ITEM.match(line)


def _shown(body: str, of_section: list[_Block], start: int, end: int) -> str:
    """A part of a section by itself, with marks where a block was cut."""
    start += len(body[start:end]) - len(body[start:end].lstrip())
    line = body.rfind("\n", 0, start) + 1
    is_line = not body[line:start].strip()
    text = body[line if is_line else start : end].rstrip()  # with its indentation
    first = next(block for block in of_section if block.end > start)
    last = next(block for block in reversed(of_section) if block.start < end)
    opening = _open_fence(body[first.start : line])
    if opening:
        text = f"{opening}\n{text}"
    elif first.kind == "table" and first.start < start:
        head = body[first.start : first.end].split("\n")[:2]
        gap = [f"| {GAP} |"] if body[first.start : line].count("\n") > 2 else []
        text = "\n".join((*head, *gap, text))
    text = alone(text)
    if first.start < start and first.kind != "table":
        text = f"{GAP}\n\n{text}" if is_line else f"{GAP} {text}"
    if body[end : last.end].strip():
        text = f"{text}\n| {GAP} |" if last.kind == "table" else f"{text}\n\n{GAP}"
    return text


def _open_fence(text: str) -> str:
    """The line that opens the code that is open at the end of `text`; empty if none is."""
    code = FencedCode()
    opening = ""
    for line in text.split("\n"):
        was_open = code.fence
        code.takes(line)
        opening = opening if was_open else line
    return opening if code.fence else ""
