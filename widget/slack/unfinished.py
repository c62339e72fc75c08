"""Answers in progress, one small file each.

A kill leaves the files, and the next start marks these answers in Slack as broken off.
"""

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Open:
    """A message that waits for its end."""

    channel: str
    ts: str
    id: str
    question: str


class Unfinished:
    """The files, in a folder used by a single process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, answer: Open) -> None:
        """Record an answer atomically. Raises OSError."""
        path = self._path(answer)
        new = path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(answer), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def end(self, answer: Open) -> None:
        """Remove it after its end is shown."""
        self._path(answer).unlink(missing_ok=True)

    def left(self) -> list[Open]:
        """Answers left by another process, oldest first."""
        answers = []
        for path in sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            try:
                answers.append(Open(**json.loads(path.read_text(encoding="utf-8"))))
            except (ValueError, TypeError) as error:
                log.warning("%s: unreadable, left in place: %s", path, error)
        return answers

    def _path(self, answer: Open) -> Path:
        return self.folder / f"{answer.channel}-{answer.ts}.json"
