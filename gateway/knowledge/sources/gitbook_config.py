"""Reads `.gitbook.yaml` and SUMMARY.md, which list the pages of a GitBook."""

import contextlib
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gateway.knowledge.sources import addresses, safe_yaml
from gateway.knowledge.sources.commonmark import plain
from gateway.knowledge.sources.js_config import LARGEST
from gateway.knowledge.sources.within import Bounds

NAME = ".gitbook.yaml"


@dataclass(frozen=True)
class GitBookConfig:
    """The settings of a GitBook, with its defaults."""

    root: Path
    """The folder of the pages."""
    readme: str = "README.md"
    summary: str = "SUMMARY.md"


def load(file: Path, bounds: Bounds) -> GitBookConfig:
    """Read a `.gitbook.yaml`; an unreadable one counts as empty."""
    fields: Any = None
    with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
        fields = safe_yaml.load(bounds.read(file, LARGEST), yaml.SafeLoader)
    fields = fields if isinstance(fields, dict) else {}
    structure = fields.get("structure")
    structure = structure if isinstance(structure, dict) else {}
    root = fields.get("root")
    folder = posixpath.normpath(root.lstrip("/")) if isinstance(root, str) and root else "."
    return GitBookConfig(
        root=file.parent if folder == "." or folder.startswith("..") else file.parent / folder,
        readme=_path(structure.get("readme"), "README.md"),
        summary=_path(structure.get("summary"), "SUMMARY.md"),
    )


class SummaryLink(NamedTuple):
    """A link in a SUMMARY.md, or the heading of a group of links."""

    path: str
    """The path of a page, or an external address; empty for a group."""
    title: str
    line: int
    """From 1."""
    level: int
    """The nesting level; 0 for a heading."""


def listed(summary: str, text: str) -> Iterator[SummaryLink]:
    """Yields the pages of a SUMMARY.md in order, each once."""
    for entry in contents(summary, text):
        if entry.path and not addresses.is_elsewhere(entry.path):
            yield entry


def contents(summary: str, text: str) -> Iterator[SummaryLink]:
    """Yields the entries of a SUMMARY.md in order; duplicate links are skipped."""
    seen = set()
    is_heading = is_titled = False
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "heading_open":
            is_heading, is_titled = True, token.tag != "h1"
        if token.type != "inline":
            continue
        line = token.map[0] + 1 if token.map else 1
        level = 0 if is_heading else token.level
        children = token.children or []
        opened = [n for n, child in enumerate(children) if child.type == "link_open"]
        if not opened and (is_titled if is_heading else level > 1):
            yield SummaryLink("", _title(children), line, level)
        for start in opened:
            target = str(children[start].attrGet("href") or "")
            if not addresses.is_elsewhere(target):
                target = addresses.beside(summary, unquote(target.partition("#")[0]))
            close = next(n for n in range(start, len(children)) if children[n].type == "link_close")
            if target not in seen:
                seen.add(target)
                yield SummaryLink(target, _title(children[start:close]), line, level)
        is_heading = False


def _title(children: Sequence[Token]) -> str:
    return " ".join(plain(children).split())


def _path(value: Any, default: str) -> str:
    return posixpath.normpath(value).lstrip("/") if isinstance(value, str) and value else default
