"""Progress bar of a training run."""

from collections import deque

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.tuning.events import Event

GIB = 2**30
# Steps over which the speed is averaged.
RECENT = 10


class TrainingBar:
    """A bar on standard error; without a terminal, a line for each evaluation."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._columns = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._columns.add_task("loading the libraries", total=None, state="")
        self._steps: deque[Event] = deque(maxlen=RECENT)
        self._validation: float | None = None
        self._total = 0

    def __enter__(self) -> "TrainingBar":
        if self._console.is_terminal:
            self._columns.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._columns.stop()

    def show(self, event: Event) -> None:
        """Handle an event of `training.tuning.events`."""
        kind = event["event"]
        if kind == "start":
            self._total = event["steps"]
            self._columns.update(self._task, description="training", total=self._total)
        elif kind == "step":
            self._steps.append(event)
            self._columns.update(self._task, completed=event["step"], state=self._state())
        elif kind == "eval":
            self._validation = event["loss"]
            if not self._console.is_terminal:
                self._console.print(self._state())

    def _state(self) -> str:
        parts = []
        if self._steps:
            last, first = self._steps[-1], self._steps[0]
            parts = [f"step {last['step']:,}/{self._total:,}", f"loss {last['loss']:.3f}"]
        if self._validation is not None:
            parts.append(f"validation {self._validation:.3f}")
        if self._steps:
            seconds = last["seconds"] - first["seconds"]
            if seconds > 0:
                parts.append(f"{(last['tokens'] - first['tokens']) / seconds:,.0f} tokens/s")
            if memory := last.get("memory"):
                parts.append(f"{memory / GIB:.1f} GiB")
        return ", ".join(parts)
