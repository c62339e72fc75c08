"""Sections of the documentation by their anchors."""

import re
from pathlib import Path

from markdown.extensions.toc import slugify

_HEADING = re.compile(r"^##+ (.*?)(?: \{#([\w-]+)\})?\n", re.M)


def below(page: Path, anchor: str) -> str:
    """The text from the heading with this anchor to the page's end.

    The anchor is the one after the heading, or the one that MkDocs makes of its words.
    """
    text = page.read_text(encoding="utf-8")
    for heading in _HEADING.finditer(text):
        if anchor == (heading[2] or slugify(heading[1].replace("`", ""), "-")):
            return text[heading.end() :]
    raise AssertionError(f"{page} has no heading with the anchor {anchor}")
