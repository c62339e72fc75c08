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

from wiki.sources import addresses, safe_yaml
from wiki.sources.commonmark import plain
from wiki.sources.js_config import LARGEST
from wiki.sources.within import Bounds

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
    """A link to a page in a SUMMARY.md."""

    path: str
    title: str
    line: int
    """From 1."""


def listed(summary: str, text: str) -> Iterator[SummaryLink]:
    """Yields the pages of a SUMMARY.md in order, each once."""
    seen = set()
    for token in MarkdownIt("commonmark").parse(text):
        children = token.children or []
        line = token.map[0] + 1 if token.map else 1
        for start, child in enumerate(children):
            target = str(child.attrGet("href") or "") if child.type == "link_open" else ""
            if addresses.is_elsewhere(target):
                continue
            path = addresses.beside(summary, unquote(target.partition("#")[0]))
            close = next(n for n in range(start, len(children)) if children[n].type == "link_close")
            if path not in seen:
                seen.add(path)
                yield SummaryLink(path, _title(children[start:close]), line)


def _title(children: Sequence[Token]) -> str:
    return " ".join(plain(children).split())


def _path(value: Any, default: str) -> str:
    return posixpath.normpath(value).lstrip("/") if isinstance(value, str) and value else default
