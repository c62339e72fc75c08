"""Permanent background tasks, which are restarted after failures; failures are logged and exposed.

    tasks = Tasks(metrics.task_failed)
    tasks.start("usage", usage.run)
    ...
    await tasks.close()

A task that returns is done. An exception is a failure, after which the task restarts: first after
FIRST_PAUSE, then after growing pauses.

Processes that have neither `/ready` nor metrics (`askdocs up`, `askdocs slack`, a watching sync,
the supervisor of workers) count failures in a file of the state folder, by `Failures`; the
gateway's `/ready` and `/metrics` report them.
"""

import asyncio
import fcntl
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from core.errors import AskdocsError

log = logging.getLogger("askdocs.tasks")

FIRST_PAUSE = 0.5  # seconds until a failed task restarts
LONGEST_PAUSE = 60.0  # maximum seconds for repeated failures: each pause doubles the last one
STEADY = 120.0  # seconds without failure until the pause is reset and the task counts as well
FOLDER = "tasks"  # of the files of failures


class Tasks:
    """The background tasks of one process, in its event loop and in threads."""

    def __init__(
        self,
        failed: Callable[[str], None] = lambda name: None,
        started: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`failed` is called with a task's name at each failure, and `started` once before; both
        from any thread."""
        self._failed = failed
        self._started = started
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: dict[str, int] = {}
        self._last: dict[str, float] = {}

    @property
    def failing(self) -> list[str]:
        """The names of tasks that failed within the last STEADY seconds."""
        since = time.monotonic() - STEADY
        return sorted(name for name, at in self._last.items() if at > since)

    def started(self, name: str) -> None:
        """Register a task that its owner keeps running."""
        self._tell(self._started, name)

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Keep `work` running in the event loop until it returns, `close` is called, or the task is
        cancelled."""
        self.started(name)
        task = asyncio.create_task(self._keep(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def go_on(self, name: str, work: Callable[[], None], stop: threading.Event) -> None:
        """Keep `work` running in this thread until it returns or `stop` is set."""
        self.started(name)
        while not stop.is_set():
            began = time.monotonic()
            try:
                return work()
            except Exception as error:
                stop.wait(self.failed(name, error, began))

    async def close(self) -> None:
        """Cancel the tasks in the event loop, and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def failed(self, name: str, error: Exception, began: float) -> float:
        """Record a failure of work that began at `began`, on the monotonic clock. Returns the
        seconds until its restart."""
        now = time.monotonic()
        before = 0 if now - began > STEADY else self._failures.get(name, 0)
        pause: float = min(FIRST_PAUSE * 2 ** min(before, 20), LONGEST_PAUSE)
        self._failures[name] = before + 1
        self._last[name] = now
        self._tell(self._failed, name)
        # Our own errors are sentences; for all others, the traceback is needed.
        trace = None if isinstance(error, AskdocsError) else error
        text = str(error) or type(error).__name__
        log.error("%s failed (%s); it restarts in %.1f s", name, text, pause, exc_info=trace)
        return pause

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            began = time.monotonic()
            try:
                return await work()
            except Exception as error:
                await asyncio.sleep(self.failed(name, error, began))

    def count_failure(self, name: str) -> None:
        """Count a failure of work that its owner logs and repeats."""
        self._last[name] = time.monotonic()
        self._tell(self._failed, name)

    def _tell(self, listener: Callable[[str], None], name: str) -> None:
        try:
            listener(name)
        except Exception:  # a failing listener must not end the work
            log.exception("could not report %s", name)


class Traffic:
    """Counts the requests in flight in one process, so that background work can yield to them."""

    def __init__(self) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = asyncio.Event()

    def request(self) -> "Traffic":
        """Marks a request from its first to its last byte: `with traffic.request():`."""
        return self

    def __enter__(self) -> None:
        self._running += 1
        if self._running == 1:
            self._idle.clear()
            self._busy.set()

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        if not self._running:
            self._busy.clear()
            self._idle.set()

    @property
    def is_busy(self) -> bool:
        """May be called from threads."""
        return self._running > 0

    async def until_idle(self) -> None:
        await self._idle.wait()

    async def until_busy(self) -> None:
        await self._busy.wait()


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


def failures_in(folder: Path) -> list[Failed]:
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
