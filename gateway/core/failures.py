"""Failures of background tasks in processes that have no `/ready` and no metrics of their own.

    failures = Failures(home, "up")
    tasks = Tasks(failures.failed, failures.started)

Such a process (`askdocs up`, `askdocs slack`, a sync that watches, the supervisor of workers)
counts them in a file of the state folder; the gateway's `/ready` and `/metrics` show them.
"""

import fcntl
import json
import time
from pathlib import Path
from typing import NamedTuple

from gateway.core.tasks import STEADY

FOLDER = "tasks"


class Failed(NamedTuple):
    """One task of one process."""

    process: str
    task: str
    failures: int
    last: float
    """Unix time of the last failure; 0 for none."""

    @property
    def is_recent(self) -> bool:
        return abs(time.time() - self.last) < STEADY  # a clock may have been set back


class Failures:
    """The tasks of one process; those of its kind before it are counted on."""

    def __init__(self, folder: Path, process: str) -> None:
        """`folder` is the state folder; without one nothing is counted."""
        self._file = folder / FOLDER / f"{process}.json"

    def started(self, task: str) -> None:
        """Count it from 0: Prometheus does not see a series rise that begins at one."""
        self._add(task, 0)

    def failed(self, task: str) -> None:
        self._add(task, 1)

    def _add(self, task: str, count: int) -> None:
        """Raises OSError: the disk is full, or read-only."""
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
    """The tasks of all processes that share the state folder. What cannot be read is left out."""
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
    """Empty where a kill cut it off."""
    try:
        return {task: (int(count), float(last)) for task, (count, last) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, OverflowError):
        return {}
