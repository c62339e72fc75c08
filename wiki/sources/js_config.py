"""Reads literal settings from JavaScript configuration files without running them."""

import re
from pathlib import Path

from wiki.sources.tree import decode
from wiki.sources.within import Bounds

# Maximum bytes of a configuration that people write.
LARGEST = 2**20
# A comment, or a string, in which no comment starts: '**/drafts/**', 'https://x'.
_COMMENT = re.compile(
    r"""("(?:\\.|[^"\\\n])*+(?:"|(?=\n)|\\?\Z)|'(?:\\.|[^'\\\n])*+(?:'|(?=\n)|\\?\Z)"""
    r"""|`(?:\\.|[^`\\])*+(?:`|\\?\Z))|/\*.*?(?:\*/|\Z)|(?<![:\w])//[^\n]*""",
    re.DOTALL,
)


def read(file: Path, bounds: Bounds) -> str:
    """The program without comments; empty if it cannot be read."""
    try:
        return _COMMENT.sub(lambda match: match[1] or "", decode(bounds.read(file, LARGEST)))
    except (OSError, ValueError):
        return ""


def string(name: str, text: str) -> str | None:
    """The value of a setting that is a string literal."""
    match = re.search(rf"""\b{name}:\s*(["'`])([^"'`$\n]*)\1""", text)
    return match[2] if match else None


def boolean(name: str, text: str) -> bool | None:
    match = re.search(rf"\b{name}:\s*(true|false)\b", text)
    return match[1] == "true" if match else None


def strings(name: str, text: str) -> tuple[str, ...]:
    """The strings in a list."""
    match = re.search(rf"\b{name}:\s*\[([^\]]{{0,2000}})\]", text)
    listed = match[1] if match else ""
    return tuple(quoted[2] for quoted in re.finditer(r"""(["'`])(.*?)\1""", listed))
