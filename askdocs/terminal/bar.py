"""Progress bar for long work."""

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

# Seconds: shorter work needs no bar.
PATIENCE = 2.0
# Seconds between two lines without a terminal.
TELL = 30.0

err = Console(stderr=True, highlight=False, soft_wrap=True)


class Bar:
    """A bar on standard error for work longer than PATIENCE; without a terminal, lines."""

    def __init__(self, what: str = "") -> None:
        self._what = what
        self._began = self._shown_at = time.monotonic()
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def show(self, step: str, done: int, total: int | None) -> None:
        """Implements wiki.sources.sync.Progress."""
        named = f"{step} {self._what}".strip()
        if not err.is_terminal:
            if time.monotonic() - self._shown_at > TELL:
                self._shown_at = time.monotonic()
                err.print(f"{named}: {done:,}{f' of {total:,}' if total else ''}", markup=False)
            return
        if self._progress is None:
            if time.monotonic() - self._began < PATIENCE:
                return
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=err,
                transient=True,
            )
            self._progress.start()
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(named, total=total)
        self._progress.update(self._tasks[step], completed=done, total=total)
