"""Progress bar of an evaluation run."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from askdocs.terminal.bar import TELL
from training.tuning.events import Event


class EvaluationBar:
    """Bars on standard error, one per system; without a terminal, lines."""

    def __init__(self, console: Console, answered: int, total: int) -> None:
        """
        Args:
            console: where to draw.
            answered: number of existing answers.
            total: number of answers in the whole run.
        """
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:15}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._errors: dict[str, int] = {}
        self._began = self._shown_at = time.monotonic()
        self._done_before, self._done, self._total = answered, answered, total

    def __enter__(self) -> "EvaluationBar":
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def show(self, event: Event) -> None:
        """Handle an event of eval/running/ask.py."""
        kind, name = event["event"], event.get("name", "")
        if kind in ("step", "system"):
            if name not in self._tasks:
                task = self._progress.add_task(name, total=event["total"], counts="")
                self._tasks[name] = task
            self._progress.update(self._tasks[name], completed=event["done"])
            if kind == "step":
                self._tell(f"{name}: {event['done']:,} of {event['total']:,}")
        elif kind == "answered":
            self._done += 1
            self._errors[name] = self._errors.get(name, 0) + bool(event["error"])
            counts = self.counts(name)
            self._progress.update(self._tasks[name], advance=1, counts=counts)
            self._tell(f"{name}: {self._done:,} of {self._total:,} answers, {counts}")

    def counts(self, name: str) -> str:
        """Estimated time left, and the number of errors."""
        new = self._done - self._done_before
        left = (time.monotonic() - self._began) / new * (self._total - self._done) if new else 0
        parts = [f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"]
        if errors := self._errors.get(name):
            parts.append(f"{errors:,} errors")
        return ", ".join(parts)

    def _tell(self, line: str) -> None:
        if not self._console.is_terminal and time.monotonic() - self._shown_at > TELL:
            self._shown_at = time.monotonic()
            self._console.print(line)
