"""Renders colon-fenced boxes (VitePress, Docusaurus, HackMD) as plain text.

MkDocs does not support them, but `askdocs up` reads folders of these generators like MkDocs
folders. Otherwise an answer would quote ":::warning".
"""

import re
from collections.abc import Sequence

from wiki.pages.fences import fenced

_LABELLED = "note|tip|info|warning|danger|caution|important|success|details"
_PLAIN = "code-group|tabs|raw|v-pre"
_BEGINS = re.compile(
    rf"([\s>]*):{{3,}}\s*(?:({_LABELLED})|(?:{_PLAIN}))"
    r"(?:\s*\[(.*)\]|\s+([^\s{].*?))?\s*(?:\{.*\})?\s*$"
)
# Maximum characters of a box's first line: a title with braces takes quadratic time.
LONGEST = 2000
ENDS = re.compile(r"[\s>]*:{3,}\s*$")
# The placeholder for an object's documentation in mkdocstrings; its options follow on other lines.
_OBJECT = re.compile(r"::: +((?:\w+\.)+\w+)\s*$")


def label(kind: str, *titles: str | None) -> str:
    """The bold label of a box of this kind: its first non-empty title. Empty if there is none."""
    title = next(filter(None, titles), "").strip()
    text = ": ".join(filter(None, [kind.capitalize(), title]))
    return f"**{text}**" if text else ""


def named(lines: Sequence[str]) -> list[str]:
    """Replaces each box's first line with its bold label, and its last line with an empty one; the
    number of lines does not change.

    For a mkdocstrings object, the name remains, without its options.
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
