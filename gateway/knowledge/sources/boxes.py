"""Renders colon-fenced boxes (VitePress, Docusaurus, HackMD) as plain text.

MkDocs has none, but folders for these are read as its too, all by `askdocs up`. An answer would
quote ":::warning".
"""

import re
from collections.abc import Sequence

from gateway.knowledge.sources.commonmark import fenced

_LABELLED = "note|tip|info|warning|danger|caution|important|success|details"
_PLAIN = "code-group|tabs|raw|v-pre"
_BEGINS = re.compile(
    rf"([\s>]*):{{3,}}\s*(?:({_LABELLED})|(?:{_PLAIN}))"
    r"(?:\s*\[(.*)\]|\s+([^\s{].*?))?\s*(?:\{.*\})?\s*$"
)
# Characters of a line that begins a box: a title with braces costs the square of its length.
LONGEST = 2000
ENDS = re.compile(r"[\s>]*:{3,}\s*$")
# What mkdocstrings puts the documentation of an object in place of; its options are below.
_OBJECT = re.compile(r"::: +((?:\w+\.)+\w+)\s*$")


def label(kind: str, *titles: str | None) -> str:
    """What a box of this kind says on it, bold; the first title that it has. Empty: nothing."""
    title = next(filter(None, titles), "").strip()
    text = ": ".join(filter(None, [kind.capitalize(), title]))
    return f"**{text}**" if text else ""


def named(lines: Sequence[str]) -> list[str]:
    """As many lines: what a box says on it stays, bold, and the line that ends it is empty.

    Of an object of mkdocstrings the name stays, without its options.
    """
    shown: list[str] = []
    depth = 0
    has_options = False
    for line, code in zip(lines, fenced(lines), strict=True):
        has_options = has_options and (not line.strip() or line.startswith(" "))
        if has_options:
            shown.append("")
        elif code or ":::" not in line:
            shown.append(line)
        elif named_object := _OBJECT.match(line):
            has_options = True
            shown.append(f"`{named_object[1]}`")
        elif len(line) <= LONGEST and (begins := _BEGINS.match(line)):
            depth += 1
            text = label(begins[2] or "", begins[3], begins[4])
            shown.append(f"{begins[1]}{text}" if text else "")
        elif depth and ENDS.match(line):
            depth -= 1
            shown.append("")
        else:
            shown.append(line)
    return shown
