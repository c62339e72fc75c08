"""Sections of the documentation by their anchors."""

import re
from pathlib import Path

from markdown.extensions.toc import slugify

_HEADING = re.compile(r"^##+ (.*?)(?: \{#([\w-]+)\})?\n", re.M)


def below(page: Path, anchor: str) -> str:
    """The text from the heading with this anchor to the page's end."""
    text = page.read_text(encoding="utf-8")
    for heading in _HEADING.finditer(text):
        if anchor == _anchor(heading):
            return text[heading.end() :]
    raise AssertionError(f"{page} has no heading with the anchor {anchor}")


def sections(page: Path) -> dict[str, str]:
    """The text below each heading, up to the next one."""
    text = page.read_text(encoding="utf-8")
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    return {
        _anchor(heading): text[heading.end() : end]
        for heading, end in zip(headings, ends, strict=True)
    }


def _anchor(heading: re.Match[str]) -> str:
    """The one after the heading, or the one that MkDocs makes of its words."""
    return heading[2] or slugify(heading[1].replace("`", ""), "-")
