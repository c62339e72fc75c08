"""A page's lines, cut into sections at its headings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from gateway.wiki.page import Section


@dataclass(frozen=True)
class Heading:
    """A heading that begins a section."""

    level: int
    """1 to 6."""
    text: str
    """As a reader sees it: without marks and addresses."""
    anchor: str
    line: int
    """Its first line, from 0."""


def cut(lines: Sequence[str], headings: Sequence[Heading]) -> tuple[Section, ...]:
    """The sections of a page: what is above the first heading, then one for each heading."""
    sections: list[Section] = []
    first = headings[0].line if headings else len(lines)
    above = "\n".join(lines[:first]).strip()
    if above:
        sections.append(Section("", "", (), above))
    stack: list[Heading] = []
    ends = [*(heading.line for heading in headings[1:]), len(lines)]
    # A page without a heading has one end, of nothing.
    for heading, end in zip(headings, ends, strict=False):
        while stack and stack[-1].level >= heading.level:
            stack.pop()
        stack.append(heading)
        text = "\n".join(_outdented(lines[heading.line : end])).strip()
        # The page's own title is not part of the path: it stands beside it everywhere.
        path = tuple(h.text for h in stack if h.level > 1)
        sections.append(Section(heading.text, heading.anchor, path, text))
    return tuple(sections)


def title(front: object, headings: Sequence[Heading], path: str) -> str:
    """A page's title: the front matter's, else the first heading's, else the file's name."""
    named = front.strip() if isinstance(front, str) else ""
    return named or next((h.text for h in headings if h.level == 1 and h.text), "") or name(path)


def name(path: str) -> str:
    """The name of a file as a title."""
    file = PurePosixPath(path)
    stem = file.parent.name if file.stem in ("index", "README") else file.stem
    return (stem or "Home").replace("-", " ").replace("_", " ").capitalize()


def _outdented(lines: Sequence[str]) -> Sequence[str]:
    """A section that begins inside an admonition or a tab, without that indentation."""
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip(" \t"))]
    if not indent:
        return lines
    return [line.removeprefix(indent) for line in lines]
