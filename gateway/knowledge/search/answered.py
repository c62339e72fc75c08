"""Reads a file of human-answered questions and the pages that answer them."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.core.errors import AskdocsError, together


@dataclass(frozen=True)
class MemoryMatch:
    """A row of the file."""

    where: str
    """File and line number."""
    question: str
    pages: tuple[str, ...]
    """The pages as the file names them; empty if the wiki has no answer, or the row names no
    page."""
    held_out: bool = False
    """Is it in the test split, which evaluations use?"""


def read_answers(file: Path) -> list[MemoryMatch]:
    """Reads a JSON Lines file with `question`, and `context_doc` or `context_docs`.

    A row with `"answerable": false` has no pages, and one with `"split": "test"` is held out. Other
    fields are ignored.

    Raises:
        AskdocsError: the file cannot be read, or has invalid rows, listed by line.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise AskdocsError(f"{file}: cannot be read as UTF-8 text: {error}") from None
    rows, problems = [], []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                rows.append(_row(f"{file}:{number}", line))
            except ValueError as error:
                problems.append(f"{file}:{number}: {error}")
    if problems:
        raise together(problems, "more rows like that")
    return rows


def _row(where: str, line: str) -> MemoryMatch:
    """Raises ValueError: the problem with the row, and its fix."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"is not JSON ({error}): write one object a line") from None
    if not isinstance(row, dict):
        raise ValueError(f"is a JSON {type(row).__name__}: write an object with question")
    question, answerable = row.get("question"), row.get("answerable", True)
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"question is {_short(question)}: write the question as text")
    if not isinstance(answerable, bool):
        raise ValueError(f"answerable is {_short(answerable)}: write true or false")
    names = row.get("context_docs") or row.get("context_doc") or []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"context_docs is {_short(names)}: write a list of paths of pages")
    pages = (name.strip() for name in names) if answerable else ()
    held_out = row.get("split") == "test"
    return MemoryMatch(where, question, tuple(dict.fromkeys(filter(None, pages))), held_out)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."


class Paths:
    """Finds the page that a file refers to: rows may say `docs/mail.md` for a page that is
    `mail.md` in the synced folder, or `mail.html` on the site."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = set(paths)
        self._endings: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._stems: dict[str, set[str]] = defaultdict(set)
        for path in self._paths:
            parts = PurePosixPath(path).parts
            for start in range(len(parts)):
                self._endings[parts[start:]].add(path)
            self._stems[PurePosixPath(path).stem].add(path)

    def find(self, name: str) -> str | None:
        """The page with exactly that path; or else the only page whose path the name ends with, or
        with the same file name regardless of its extension. Else None."""
        if name in self._paths:
            return name
        parts = PurePosixPath(name.partition("#")[0].strip("/")).parts
        for start in range(len(parts)):
            if paths := self._endings.get(parts[start:]):
                return _only(paths)
        return _only(self._stems.get(PurePosixPath(parts[-1]).stem, set())) if parts else None


def _only(paths: set[str]) -> str | None:
    return next(iter(paths)) if len(paths) == 1 else None
