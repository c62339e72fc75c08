"""Expands snippets, `--8<-- "file.md"`, like pymdownx.snippets."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markdown import Markdown
from pymdownx.snippets import (  # type: ignore[import-untyped]
    SnippetExtension,
    SnippetPreprocessor,
)

from wiki.sources.trail import Trail


class Snippets:
    """Expands the snippets of pages."""

    def __init__(self, options: Mapping[str, Any], root: Path) -> None:
        """
        Args:
            options: of pymdownx.snippets. Regardless of them, nothing is downloaded, and no file
                outside the base paths is read.
            root: the wiki's folder, to which the paths of snippets are relative.
        """
        # Text appended to every page, such as abbreviations, is not part of its content.
        safe = {
            "auto_append": [],
            "url_download": False,
            "check_paths": False,
            "restrict_base_path": True,
        }
        config = SnippetExtension(**{**options, **safe}).getConfigs()
        self._reader = _Reader(config, Markdown())
        self._reader.root = str(root)

    def expand(self, lines: list[str], path: str, trail: Trail) -> list[str]:
        """The lines with expanded snippets; missing ones become problems of `trail`."""
        if not any("8<" in line for line in lines):
            return lines
        self._reader.trail = trail
        self._reader.missing = {}
        expanded: list[str] = self._reader.run(list(lines))
        for name, known_as in self._reader.missing.items():
            trail.missing(path, name, f"the snippet {name}", known_as)
        return expanded


class _Reader(SnippetPreprocessor):  # type: ignore[misc]
    root: str
    trail: Trail
    missing: dict[str, str]
    """The snippets that were not found, with the last location searched."""

    def get_snippet_path(self, path: str) -> str | None:
        """The location of a snippet; records all searched locations in the trail."""
        looked = ""
        for base in self.base_path:
            is_file = os.path.isfile(base)  # a base may be a single file
            name = os.path.normpath(os.path.join(os.path.dirname(base) if is_file else base, path))
            if name != base if is_file else not name.startswith(base.rstrip(os.sep) + os.sep):
                continue
            looked = self._known_as(name)
            if self.trail.file(looked) is not None:
                return name
        self.missing[path] = looked
        return None

    def read_lines(self, path: str) -> list[str]:
        text = self.trail.file(self._known_as(path)) or ""
        return text.split("\n") if text else []

    def _known_as(self, name: str) -> str:
        return os.path.relpath(name, self.root)
