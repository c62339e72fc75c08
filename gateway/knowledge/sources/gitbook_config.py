"""Reads `.gitbook.yaml` and SUMMARY.md, which list the pages of a GitBook."""

import contextlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import yaml
from markdown_it import MarkdownIt

from gateway.knowledge.sources import addresses, safe_yaml
from gateway.knowledge.sources.commonmark import plain
from gateway.knowledge.sources.js_config import LARGEST
from gateway.knowledge.sources.within import Bounds

NAME = ".gitbook.yaml"


@dataclass(frozen=True)
class Config:
    """The settings of a GitBook, with its defaults."""

    root: Path
    """The folder of the pages."""
    readme: str = "README.md"
    summary: str = "SUMMARY.md"


def load(file: Path, bounds: Bounds) -> Config:
    """Read a `.gitbook.yaml`; one that cannot be read says nothing."""
    said: Any = None
    with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
        said = safe_yaml.load(bounds.read(file, LARGEST), yaml.SafeLoader)
    said = said if isinstance(said, dict) else {}
    structure = said.get("structure")
    structure = structure if isinstance(structure, dict) else {}
    root = said.get("root")
    folder = posixpath.normpath(root.lstrip("/")) if isinstance(root, str) and root else "."
    return Config(
        root=file.parent if folder == "." or folder.startswith("..") else file.parent / folder,
        readme=_path(structure.get("readme"), "README.md"),
        summary=_path(structure.get("summary"), "SUMMARY.md"),
    )


class Entry(NamedTuple):
    """A page in a SUMMARY.md."""

    path: str
    title: str
    line: int
    """From 1."""


def listed(summary: str, text: str) -> Iterator[Entry]:
    """The pages of a SUMMARY.md in order, each once."""
    seen = set()
    for token in MarkdownIt("commonmark").parse(text):
        children = token.children or []
        opened = [n for n, child in enumerate(children) if child.type == "link_open"]
        for start in opened:
            target = str(children[start].attrGet("href") or "")
            if addresses.is_elsewhere(target):
                continue
            path = addresses.beside(summary, unquote(target.partition("#")[0]))
            close = next(n for n in range(start, len(children)) if children[n].type == "link_close")
            if path not in seen:
                seen.add(path)
                line = token.map[0] + 1 if token.map else 1
                yield Entry(path, plain(children[start:close]).strip(), line)


def _path(said: Any, default: str) -> str:
    return posixpath.normpath(said).lstrip("/") if isinstance(said, str) and said else default
