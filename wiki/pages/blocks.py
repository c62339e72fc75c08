"""Splits Markdown between blocks, never inside code or a table, nor after a lead-in.

A block is a paragraph, a list item with a blank line after it, a fenced code block, or a table. A
block that ends with a colon introduces the next one, and is joined with it.
"""

import re
from collections.abc import Iterator

from wiki.pages.fences import OPENING, FencedCode

_SENTENCE = re.compile(r"[.!?][\"')\]*_`]{0,24}+\s+|[。！？]")
_ITEM = re.compile(r"^\s*(?:[-*+>|#<]|\d+[.)]\s|$)")  # starts a block of its own
_RULE = re.compile(
    r"^\s*+(?:\|\s*+)?:?-++:?\s*+(?:\|\s*+:?-++:?\s*+)*+\|?\s*+$"
)  # below a table's head


# A line between parts of a page, at the end of one of them.
_BREAK = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*|[ \t]*")
# Markup at the start of a line that readers of the page do not see: anchors, comments, definitions
# of links.
_UNSEEN = re.compile(
    r"^ {0,3}(?:(?:(?:<a (?:id|name)=[^<>\n]*></a>|<!--[^<>]*-->)[ \t]*)+"
    r"|\[[^\[\]\n^][^\[\]\n]*\]:[ \t]*\S+(?:[ \t]+(?:\"[^\"\n]*\"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*$)"
)
# The name of a note, of which the text is in the next part.
NAME = re.compile(
    r"(?:\*\*)?(?:note|tip|important|warning|caution|hint|danger|attention|see also|anmerkung"
    r"|hinweis|tipp|wichtig|achtung|warnung|vorsicht|remarque|astuce|avertissement|nota|consejo"
    r"|advertencia|aviso|suggerimento|avvertimento|attenzione)(?:\*\*)?:?(?:\*\*)?",
    re.IGNORECASE,
)
_LISTED = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+\S")


def blocks(text: str, promises: bool = True) -> list[str]:
    """Splits `text` into blocks; joined by blank lines they equal the text, except for outer white
    space.

    An unclosed fence extends to the end. `promises`: join blocks that end with a colon with the
    next one?
    """
    block_texts: list[str] = []
    lines: list[str] = []
    code = FencedCode()
    for line in text.strip("\n").split("\n"):
        code.takes(line)
        announced = promises and bool(lines) and lines[-1].rstrip().endswith(":")
        if line.strip() or code.fence or announced:
            lines.append(line)
        elif lines:
            block_texts.append("\n".join(lines))
            lines = []
    if lines:
        block_texts.append("\n".join(lines).rstrip())
    return [block for block in block_texts if block.strip()]


def alone(text: str) -> str:
    """A part of a page as it can be shown by itself: without anchors, comments and definitions of
    links, without rules at its ends and the name of a note at its end, with its code closed, and
    without the indentation of the list that it begins in."""
    lines = _seen(text.strip("\n").split("\n"))
    first, last = 0, len(lines)
    while last - first > 1 and _BREAK.fullmatch(lines[first]):
        first += 1
    # A line of dashes below text underlines a title.
    while last - first > 2 and _ends(lines[last - 1]) and not lines[last - 2].strip():
        last -= 1
        while not lines[last - 1].strip():
            last -= 1
    lines = lines[first:last]
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip(" "))]
    # Four spaces may be code.
    if indent and (len(indent) < 4 or _LISTED.match(lines[0])):
        for number, line in enumerate(lines):
            if line.strip() and not line.startswith(indent):
                break
            lines[number] = line.removeprefix(indent)
    return "\n".join(lines).strip("\n")


def visible(text: str) -> str:
    """A text without the lines that readers of the page do not see."""
    lines = text.split("\n")
    return "\n".join(line for line in lines if not line.strip() or _UNSEEN.sub("", line).strip())


def _seen(lines: list[str]) -> list[str]:
    """The lines that a reader of the page sees, with their code closed."""
    seen: list[str] = []
    code = FencedCode()
    is_below_unseen = False
    for line in lines:
        shown = line if code.takes(line) else _UNSEEN.sub("", line)
        is_unseen = shown != line and not shown.strip()
        is_gap = is_below_unseen and not (seen and seen[-1].strip()) and not shown.strip()
        if not is_unseen and not is_gap:
            seen.append(shown)
        is_below_unseen = is_unseen
    if code.fence:
        seen.append(code.closing)
    return "\n".join(seen).strip("\n").split("\n") if any(seen) else lines


def _ends(line: str) -> bool:
    return bool(_BREAK.fullmatch(line) or NAME.fullmatch(line.strip()))


def beginning(text: str, most: int) -> str:
    """The first blocks of `text` within `most` characters, but at least (part of) one."""
    start = ""
    for block in blocks(text):
        if start and len(start) + 2 + len(block) > most:
            break
        start = f"{start}\n\n{block}" if start else block
    return (start if len(start) <= most else parts(start, most)[0]).strip()


def parts(text: str, most: int) -> list[str]:
    """Splits `text` into parts of at most `most` characters, between blocks if possible.

    A longer block is split between its lines: code is closed and reopened, a table repeats its
    head. Hard-wrapped lines of a paragraph count as one. Only a line that is itself too long is
    split, after a sentence or a word.
    """
    pieces: list[str] = []
    for block in blocks(text):
        if len(block) <= most:
            pieces.append(block)
        else:
            for part in blocks(block, promises=False):
                pieces += _split(part, most) if len(part) > most else (part,)
    joined: list[str] = []
    for piece in pieces:
        if joined and len(joined[-1]) + 2 + len(piece) <= most:
            joined[-1] += f"\n\n{piece}"
        else:
            joined.append(piece)
    return joined


def _split(block: str, most: int) -> Iterator[str]:
    """Splits a block that is too long between its lines."""
    split = runs(block)
    if len(split) > 1:
        for run in split:
            yield from _split(run, most) if len(run) > most else (run,)
        return
    head, lines, foot = _frame(block)
    frame = len(head) + len(foot)
    if frame > most // 2:
        head, lines, foot, frame = "", block.split("\n"), "", 0
    limit = most - frame
    body = ""
    for line in lines:
        for bit in _bits(line, limit):
            if body and len(body) + 1 + len(bit) > limit:
                yield head + body + foot
                body = bit
            else:
                body = f"{body}\n{bit}" if body else bit
    yield head + body + foot


def runs(block: str) -> list[str]:
    """A block, split into its texts and its fenced code."""
    split: list[list[str]] = []
    code = FencedCode()
    was_code = False
    for line in block.split("\n"):
        was_open = code.fence
        is_code = code.takes(line)
        if not split or is_code != was_code or (is_code and not was_open):
            split.append([])
        split[-1].append(line)
        was_code = is_code
    return ["\n".join(run) for run in split]


def _bits(line: str, limit: int) -> Iterator[str]:
    """Splits a line into pieces of at most `limit` characters, none needlessly short."""
    while len(line) > limit:
        ends = [end.end() for end in _SENTENCE.finditer(line, limit // 2, limit + 1)]
        spaces = line.rfind("\n", limit // 2 + 1, limit + 1) + 1, line.rfind(" ", 1, limit + 1) + 1
        at = ends[-1] if ends else next(filter(None, spaces), limit)
        if piece := line[:at].rstrip():
            yield piece
        line = line[at:].lstrip()
    yield line


def _frame(block: str) -> tuple[str, list[str], str]:
    """The text that each piece of a block needs above it, the lines to distribute, and the text
    below."""
    lines = block.split("\n")
    if OPENING.match(lines[0]):
        code = FencedCode()
        code.takes(lines[0])
        closed = len(lines) > 1 and lines[-1].strip() == code.closing.strip()
        return f"{lines[0]}\n", lines[1:-1] if closed else lines[1:], f"\n{code.closing}"
    if is_table(lines):
        return f"{lines[0]}\n{lines[1]}\n", lines[2:], ""
    return "", lines if any(map(OPENING.match, lines)) else _unwrapped(lines), ""


def is_table(lines: list[str]) -> bool:
    """Whether a block is a table with rows below its head."""
    return len(lines) > 2 and "|" in lines[0] and "|" in lines[1] and bool(_RULE.match(lines[1]))


def _unwrapped(lines: list[str]) -> list[str]:
    """Joins the hard-wrapped lines of a paragraph or an item."""
    unwrapped = lines[:1]
    for line in lines[1:]:
        if _ITEM.match(line) or unwrapped[-1].endswith(("  ", "\\")):
            unwrapped.append(line)
        else:
            unwrapped[-1] += f"\n{line}"
    return unwrapped
