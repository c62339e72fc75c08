"""Splits a page's lines into sections at its headings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from wiki.pages.page import Section

# Content allowed above a page's title: front matter that is not YAML, comments, banners, tags,
# images, links, MDX imports.
_NO_TEXT = re.compile(
    r"\A---\n[\s\S]*?\n---$|<!--[\s\S]*?(?:-->|\Z)|<h1\b[\s\S]*?(?:</h1>|\Z)|<[^<>]*>"
    r"|!?\[[^\[\]]*\](?:\([^()]*\)|\[[^\[\]]*\]|:.*)?|^import .*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Heading:
    """A heading that starts a section."""

    level: int
    """1 to 6."""
    text: str
    """The text as a reader sees it: without markup and addresses."""
    anchor: str
    line: int
    """Its first line, from 0."""


def cut(lines: Sequence[str], headings: Sequence[Heading]) -> tuple[Section, ...]:
    """The sections of a page: the text above the first heading, then one section per heading."""
    sections: list[Section] = []
    first = headings[0].line if headings else len(lines)
    above = "\n".join(lines[:first]).strip()
    if above:
        sections.append(Section("", "", (), above))
    stack: list[Heading] = []
    ends = [*(heading.line for heading in headings[1:]), len(lines)]
    # A page without headings has one end, which belongs to no heading.
    for heading, end in zip(headings, ends, strict=False):
        while stack and stack[-1].level >= heading.level:
            stack.pop()
        stack.append(heading)
        text = "\n".join(_outdented(lines[heading.line : end])).strip()
        # Omit the page's own title, which is shown next to the path everywhere.
        path = tuple(h.text for h in stack if h.level > 1)
        sections.append(Section(heading.text, heading.anchor, path, text))
    return tuple(sections)


def title(front: object, lines: Sequence[str], headings: Sequence[Heading]) -> str:
    """A page's own title: from the front matter, or else from an H1 at its start; empty if there is
    none.

    An H1 below text or another heading is not a title: it may be "#946" at the start of a line.
    """
    if isinstance(front, str) and front.strip():
        return front.strip()
    first = next((heading for heading in headings if heading.level == 1 and heading.text), None)
    if first is None:
        return ""
    above = "\n".join(lines[: first.line])
    above = _NO_TEXT.sub("", _NO_TEXT.sub("", above))  # a badge is an image in a link
    return "" if re.search(r"\w", above) else first.text


def name(path: str) -> str:
    """The name of a file as a title, with MkDocs' capitalisation."""
    file = PurePosixPath(path)
    stem = file.parent.name if file.stem.lower() in ("index", "readme") else file.stem
    words = (stem or "Home").replace("-", " ").replace("_", " ")
    return words.capitalize() if words == words.lower() else words


def _outdented(lines: Sequence[str]) -> Sequence[str]:
    """Removes the indentation of a section that starts inside an admonition or a tab."""
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip(" \t"))]
    if not indent:
        return lines
    return [line.removeprefix(indent) for line in lines]
