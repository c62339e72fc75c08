"""Headings and titles of CommonMark pages, the format of all generators except MkDocs."""

import contextlib
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from wiki.pages.fences import fenced
from wiki.sources import safe_yaml
from wiki.sources.sections import Heading

_FRONT = re.compile(r"\A---[ \t]*\n(.*?\n)??(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TOML = re.compile(r"\A\+\+\+[ \t]*\n(.*?\n)??\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
# Maximum characters of TOML: from a key with a million parts, tomllib creates a million keys.
_LONGEST = 2**13
_NOTE = re.compile(r"^ {0,3}\[\^[^\]\s]+\]:")
_RAW = re.compile(r"<h([1-6])\b([^>]*)>(.*?)</h\1>", re.IGNORECASE | re.DOTALL)
_ID = re.compile(r"""\bid\s*=\s*["']([^"'<>]+)["']""")
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class RawHeading:
    """A heading of a file, before its anchor is determined."""

    level: int
    text: str
    line: int
    nested: bool
    """In a quote or a list: it starts no section, but its anchor counts."""
    children: tuple[Token, ...]
    """The inline tokens of its text; empty for a heading in HTML."""
    anchor: str = ""
    """The anchor of a heading in HTML."""


class HeadingReader:
    """Finds headings. `mdx`: indented text is not code, and there are no HTML blocks."""

    def __init__(self, mdx: bool = False) -> None:
        self._markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
        if mdx:
            self._markdown.disable(["code", "html_block"])

    def headings(self, lines: Sequence[str]) -> Iterator[RawHeading]:
        """Every heading, in order."""
        # A footnote would be parsed as a link definition.
        tokens = self._markdown.parse("\n".join(_NOTE.sub("", line) for line in lines))
        for number, token in enumerate(tokens):
            if token.map is None:
                continue
            line = token.map[0]
            if token.type == "heading_open":
                children = tokens[number + 1].children or []
                level = int(token.tag[1])
                yield RawHeading(level, plain(children), line, token.level > 0, tuple(children))
            elif token.type == "html_block" or (
                token.type == "inline" and token.content.startswith("<h") and token.level == 1
            ):
                raw = _RAW.match(token.content.lstrip())
                anchor = _ID.search(raw[2]) if raw else None
                if raw and anchor:
                    text = " ".join(_TAG.sub("", raw[3]).split())
                    yield RawHeading(int(raw[1]), text, line, False, (), anchor[1])


def plain(children: Sequence[Token]) -> str:
    """The text of inline tokens, without markup and tags, and with the text of images."""
    return "".join(_texts(children))


def _texts(children: Sequence[Token]) -> Iterator[str]:
    for child in children:
        if child.type in ("text", "code_inline", "text_special"):
            yield child.content
        elif child.type == "softbreak":
            yield "\n"
        elif child.type == "image":
            yield from _texts(child.children or ())


def front_matter(text: str) -> tuple[list[str], dict[str, Any]]:
    """Returns the lines below a page's front matter, and its data, from YAML or TOML.

    Front matter that is invalid, not a mapping, or longer than TOML front matter ever is, counts as
    empty.
    """
    is_toml = text.startswith("+++")
    match = (_TOML if is_toml else _FRONT).match(text)
    if match is None:
        return text.split("\n"), {}
    fields: Any = None
    # ValueError: a date such as 2026-02-30. RecursionError: deeply nested TOML.
    with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
        written = match[1] or ""
        if not is_toml:
            fields = safe_yaml.load(written, _SafeLoader)
        elif len(written) <= _LONGEST:
            fields = tomllib.loads(written)
    return text[match.end() :].split("\n"), fields if isinstance(fields, dict) else {}


# libyaml's loader is some ten times as fast, if PyYAML was built with it.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def without_comments(lines: Sequence[str], opening: str, closing: str) -> list[str]:
    """Removes comments outside code; the number of lines does not change."""
    remaining = []
    inside = False
    for line, is_code in zip(lines, fenced(lines), strict=True):
        if is_code and not inside:
            remaining.append(line)
            continue
        rest, shown = line, ""
        while rest:
            if inside:
                _, mark, rest = rest.partition(closing)
                inside = not mark
            else:
                before, mark, rest = rest.partition(opening)
                shown += before
                inside = bool(mark)
        remaining.append(shown)
    return remaining


def joined_blanks(
    lines: Sequence[str], headings: Sequence[Heading]
) -> tuple[list[str], list[Heading]]:
    """Collapses consecutive empty lines outside code; headings move accordingly."""
    joined: list[str] = []
    moved: dict[int, int] = {}
    for number, (line, code) in enumerate(zip(lines, fenced(lines), strict=True)):
        moved[number] = len(joined)
        if code or line.strip() or (joined and joined[-1].strip()):
            joined.append(line)
    return joined, [replace(heading, line=moved[heading.line]) for heading in headings]
