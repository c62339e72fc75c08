"""The settings in docusaurus.config.js that affect addresses, if they are plain literals."""

import re
from dataclasses import dataclass
from pathlib import Path

from wiki.sources import js_config
from wiki.sources.within import Bounds

NAMES = tuple(f"docusaurus.config.{suffix}" for suffix in ("js", "ts", "mjs", "cjs", "mts", "cts"))
_DOCS = re.compile(r"\bdocs:\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")


@dataclass(frozen=True)
class DocusaurusConfig:
    """The settings of a site, with Docusaurus' defaults."""

    url: str = ""
    base_url: str = ""
    path: str = "docs"
    route: str = "docs"
    """`routeBasePath`: the path of the pages below the site's root, without surrounding slashes."""
    trailing_slash: bool | None = None
    number_prefixes: bool = True


def load(file: Path, bounds: Bounds) -> DocusaurusConfig:
    """Read a configuration; values that are not literals, or unreadable, take their defaults."""
    text = js_config.read(file, bounds)
    docs = match[1] if (match := _DOCS.search(text)) else ""
    route = js_config.string("routeBasePath", docs)
    return DocusaurusConfig(
        url=js_config.string("url", text) or "",
        base_url=js_config.string("baseUrl", text) or "",
        path=(js_config.string("path", docs) or "docs").removeprefix("./").strip("/") or ".",
        route="docs" if route is None else route.strip("/"),
        trailing_slash=js_config.boolean("trailingSlash", text),
        number_prefixes=re.search(r"\bnumberPrefixParser:\s*false\b", docs) is None,
    )
