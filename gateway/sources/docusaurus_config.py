"""docusaurus.config.js, as far as addresses depend on it and it says so in plain words.

It is a program, and is not run: strings and booleans that are written as such are read.
"""

import re
from dataclasses import dataclass
from pathlib import Path

NAMES = tuple(f"docusaurus.config.{suffix}" for suffix in ("js", "ts", "mjs", "cjs", "mts", "cts"))
_COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`\w])//[^\n]*", re.DOTALL)
_DOCS = re.compile(r"\bdocs:\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")


@dataclass(frozen=True)
class Config:
    """The settings of a site, with Docusaurus' defaults."""

    url: str = ""
    base_url: str = ""
    path: str = "docs"
    route: str = "docs"
    """`routeBasePath`: where the pages are below the site's root, without slashes around it."""
    trailing_slash: bool | None = None
    number_prefixes: bool = True


def load(file: Path) -> Config:
    """Read a configuration; what is not written plainly, or cannot be read, is the default."""
    try:
        text = _COMMENT.sub("", file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Config()
    docs = match[1] if (match := _DOCS.search(text)) else ""
    slash = re.search(r"\btrailingSlash:\s*(true|false)\b", text)
    route = _string("routeBasePath", docs)
    return Config(
        url=_string("url", text) or "",
        base_url=_string("baseUrl", text) or "",
        path=(_string("path", docs) or "docs").removeprefix("./").strip("/") or ".",
        route="docs" if route is None else route.strip("/"),
        trailing_slash=None if slash is None else slash[1] == "true",
        number_prefixes=re.search(r"\bnumberPrefixParser:\s*false\b", docs) is None,
    )


def _string(name: str, text: str) -> str | None:
    match = re.search(rf"""\b{name}:\s*(["'`])([^"'`$\n]*)\1""", text)
    return match[2] if match else None
