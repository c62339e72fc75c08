"""Reads literal settings from JavaScript configuration files without running them."""

import re
from pathlib import Path
from typing import Any

from gateway.knowledge.sources.tree import decode
from gateway.knowledge.sources.within import Bounds

# Maximum bytes of a configuration that people write.
LARGEST = 2**20
# A comment, or a string, in which no comment starts: '**/drafts/**', 'https://x'.
_COMMENT = re.compile(
    r"""("(?:\\.|[^"\\\n])*+(?:"|(?=\n)|\\?\Z)|'(?:\\.|[^'\\\n])*+(?:'|(?=\n)|\\?\Z)"""
    r"""|`(?:\\.|[^`\\])*+(?:`|\\?\Z))|/\*.*?(?:\*/|\Z)|(?<![:\w])//[^\n]*""",
    re.DOTALL,
)
# A part of a literal. Anything else is an expression, which would have to be evaluated.
_TOKEN = re.compile(
    r"""\s*+([{}\[\],:]|"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+'|`(?:\\.|[^`\\$])*+`|[\w$.-]++)""",
    re.DOTALL,
)
# Characters after a literal that make it part of an expression.
_GOES_ON = re.compile(r"\s*+[-.+?|&(\[*/=%<>]")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_WORDS = {"true": True, "false": False, "null": None, "undefined": None}
# Maximum nesting of lists and mappings.
_DEEPEST = 40


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


def path(name: str, text: str) -> str | None:
    """The file of a setting: a string, the first one of a list, or in `require.resolve`."""
    call = r"(?:\[\s*+)?(?:require\.resolve\(\s*+)?"
    match = re.search(rf"""\b{name}:\s*+{call}(["'])([^"'\n]++)\1""", text)
    return match[2] if match else None


def value(name: str, text: str) -> Any:
    """The nested value of a setting; None if any part is not a literal."""
    match = re.search(rf"""\b{name}["']?:""", text)
    return literal(text, match.end()) if match else None


def literal(text: str, start: int) -> Any:
    """The literal at a position of the text; None if it is an expression."""
    try:
        parsed, end = _literal(text, *_part(text, start), 0)
    except ValueError:
        return None
    return None if _GOES_ON.match(text, end) else parsed


def _literal(text: str, part: str, at: int, depth: int) -> tuple[Any, int]:
    """The value that starts with `part`, and its end."""
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if part not in ("[", "{"):
        return _plain(part), at
    items: list[Any] = []
    named: dict[str, Any] = {}
    opened = part
    part, at = _part(text, at)
    while part not in ("]", "}"):
        if opened == "{":
            key = _unquoted(part) if part[0] in "\"'" else part
            colon, at = _part(text, at)
            if colon != ":":
                raise ValueError("a method, or a bare name")
            part, at = _part(text, at)
            named[key], at = _literal(text, part, at, depth + 1)
        else:
            item, at = _literal(text, part, at, depth + 1)
            items.append(item)
        part, at = _part(text, at)
        if part == ",":
            part, at = _part(text, at)
        elif part not in ("]", "}"):
            raise ValueError("an expression")
    return (named if opened == "{" else items), at


def _part(text: str, at: int) -> tuple[str, int]:
    match = _TOKEN.match(text, at)
    if match is None:
        raise ValueError("an expression")
    return match[1], match.end()


def _plain(part: str) -> Any:
    if part[0] in "\"'`":
        return _unquoted(part)
    if _NUMBER.fullmatch(part):
        return float(part)
    if part not in _WORDS:
        raise ValueError("a name")
    return _WORDS[part]


def _unquoted(part: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[2], part[1:-1])
