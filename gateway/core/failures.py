"""Failures of background tasks in processes that have neither `/ready` nor metrics.

    failures = Failures(home, "up")
    tasks = Tasks(failures.failed, failures.started)

Such processes (`askdocs up`, `askdocs slack`, a watching sync, the supervisor of workers) count
failures in a file of the state folder; the gateway's `/ready` and `/metrics` report them.
"""

import fcntl
import json
import time
from pathlib import Path
from typing import NamedTuple

from gateway.core.tasks import STEADY

FOLDER = "tasks"


class Failed(NamedTuple):
    """The failures of one task in one process."""

    process: str
    task: str
    failures: int
    last: float
    """Unix time of the last failure; 0 for none."""

    @property
    def is_recent(self) -> bool:
        return abs(time.time() - self.last) < STEADY  # the clock may have been set back


class Failures:
    """The tasks of one process; continues the counts of earlier processes of its kind."""

    def __init__(self, folder: Path, process: str) -> None:
        """`folder` is the state folder; if it does not exist, nothing is counted."""
        self._file = folder / FOLDER / f"{process}.json"

    def started(self, task: str) -> None:
        """Start the count at 0: Prometheus misses the increase of a series that starts at one."""
        self._add(task, 0)

    def failed(self, task: str) -> None:
        self._add(task, 1)

    def _add(self, task: str, count: int) -> None:
        """Raises OSError: the disk is full or read-only."""
        if not self._file.parents[1].is_dir():
            return
        self._file.parent.mkdir(exist_ok=True, mode=0o700)
        with self._file.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two syncs may watch two wikis
            file.seek(0)
            tasks = _parsed(file.read())
            before, last = tasks.get(task, (0, 0.0))
            tasks[task] = before + count, time.time() if count else last
            file.truncate(0)
            file.write(json.dumps(tasks))


def read(folder: Path) -> list[Failed]:
    """The tasks of all processes that share the state folder, except unreadable files."""
    failures = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            with path.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                tasks = _parsed(file.read())
        except OSError:
            continue
        failures += [Failed(path.stem, task, *found) for task, found in tasks.items()]
    return failures


def _parsed(text: str) -> dict[str, tuple[int, float]]:
    """Parses a file; empty if it is truncated."""
    try:
        return {task: (int(count), float(last)) for task, (count, last) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, OverflowError):
        return {}
