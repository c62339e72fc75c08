"""Builds pages from documents: from Markdown, or from sections."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from wiki.pages.page import Page, Section
from wiki.sources import sections
from wiki.sources.commonmark import HeadingReader
from wiki.sources.document import scrubbed
from wiki.sources.sections import Heading

_READER = HeadingReader()
_MARKUP = re.compile(r"[\\`*_\[\]<>|]")


class NoText(ValueError):
    """The document is not a page: it has no (readable) text. The message states the reason."""


def from_markdown(
    text: str, path: str, url: str, slug: Callable[[str], str], title: str = ""
) -> Page:
    """Builds a page from Markdown.

    Args:
        text: the Markdown.
        path: the document's path.
        url: its address.
        slug: returns the anchor of each heading, in order.
        title: the document's own title.
    """
    lines = scrubbed(text).split("\n")
    headings = [
        Heading(heading.level, " ".join(heading.text.split()), slug(heading.text), heading.line)
        for heading in _READER.headings(lines)
        if not heading.nested
    ]
    title = sections.title(title, lines, headings) or sections.name(path)
    return Page(path, title, url, sections.cut(lines, headings))


def section(heading: str, path: Sequence[str], text: str, anchor: str = "") -> Section:
    """A section with its heading on a single line, and scrubbed text."""
    heading = " ".join(scrubbed(heading).split())
    above = tuple(" ".join(scrubbed(name).split()) for name in path)
    level = "#" * min(6, len(above) + 2)
    body = scrubbed(text).strip()
    return Section(heading, anchor, (*above, heading), f"{level} {heading}\n\n{body}".strip())


def without_anchors(page: Page) -> Page:
    """For documents without addressable anchors."""
    return replace(page, sections=tuple(replace(part, anchor="") for part in page.sections))


def escaped(text: str) -> str:
    """Plain text, escaped as Markdown on one line."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def fenced(code: str, language: str = "") -> str:
    """A code block, whatever backticks the code contains."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head, without empty columns and rows."""
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    width = max((len(row) for row in filled), default=0)
    full = [[*row, *[""] * (width - len(row))] for row in filled]
    used = [n for n in range(width) if any(row[n].strip() for row in full)]
    if not used:
        return ""
    lines = [
        "| " + " | ".join(" ".join(row[n].split()).replace("|", "\\|") for n in used) + " |"
        for row in full
    ]
    lines.insert(1, "|" + " --- |" * len(used))
    return "\n".join(lines)
