"""Reads literal settings from JavaScript configuration files without running them."""

import re
from pathlib import Path

from gateway.knowledge.sources.tree import decode
from gateway.knowledge.sources.within import Bounds

# More than this is no configuration that people write.
LARGEST = 2**20
# A comment, or a text, in which none begins: '**/drafts/**', 'https://x'.
_COMMENT = re.compile(
    r"""("(?:\\.|[^"\\\n])*+(?:"|(?=\n)|\\?\Z)|'(?:\\.|[^'\\\n])*+(?:'|(?=\n)|\\?\Z)"""
    r"""|`(?:\\.|[^`\\])*+(?:`|\\?\Z))|/\*.*?(?:\*/|\Z)|(?<![:\w])//[^\n]*""",
    re.DOTALL,
)


def read(file: Path, bounds: Bounds) -> str:
    """The program without its comments; empty where it cannot be read."""
    try:
        return _COMMENT.sub(lambda found: found[1] or "", decode(bounds.read(file, LARGEST)))
    except (OSError, ValueError):
        return ""


def string(name: str, text: str) -> str | None:
    """The text that a setting is, if it is written as one."""
    match = re.search(rf"""\b{name}:\s*(["'`])([^"'`$\n]*)\1""", text)
    return match[2] if match else None


def boolean(name: str, text: str) -> bool | None:
    match = re.search(rf"\b{name}:\s*(true|false)\b", text)
    return match[1] == "true" if match else None


def strings(name: str, text: str) -> tuple[str, ...]:
    """The texts of a list."""
    match = re.search(rf"\b{name}:\s*\[([^\]]{{0,2000}})\]", text)
    listed = match[1] if match else ""
    return tuple(found[2] for found in re.finditer(r"""(["'`])(.*?)\1""", listed))
