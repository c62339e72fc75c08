"""Finds the page that a file of questions refers to."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath


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
