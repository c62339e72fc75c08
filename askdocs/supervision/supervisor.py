"""Supervises processes: starts them, prints their log lines, restarts them, stops them.

Each process has a log file with everything that it prints; lines that begin with `»` are for people
and are shown. Every process is the leader of its own group, so that what it starts is stopped with
it, and asks the kernel for a SIGTERM when its parent dies, so that a kill -9 leaves nothing behind.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path

from gateway.core.errors import AskdocsError
from gateway.core.tasks import Tasks

Say = Callable[[str, str], None]

GRACE = 5.0  # seconds between SIGTERM and SIGKILL
FIRST_PAUSE = 0.2  # seconds until a process that died is started again
LONGEST_PAUSE = 15.0  # of one that keeps dying: each pause is twice the last one
STEADY = 60.0  # seconds that it has to live until the pauses begin again
LARGEST_LOG = 10 * 2**20

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Service:
    """A process to keep running."""

    name: str
    argv: list[str]
    log: Path
    ready: Callable[[], Awaitable[bool]]
    """Asked every 0.2 s after a start until it is true."""
    timeout: float
    """Seconds that the first start may take until it is ready."""
    env: dict[str, str] = field(default_factory=dict)
    hung: Callable[[int], Awaitable[str]] | None = None
    """Given its pid, returns once it lives and does nothing any more, with what was seen; it is
    killed then, as where it is not ready again in time."""


class Running:
    """A service under supervision."""

    def __init__(
        self,
        service: Service,
        say: Say,
        changed: Callable[[], None],
        tasks: Tasks | None = None,
    ) -> None:
        """`changed` hears of each new process; `tasks` are those of who supervises."""
        self.service = service
        self.restarts = 0
        self._show = say
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._tasks = tasks or Tasks()
        self._supervision: asyncio.Task[None] | None = None
        self._stopping = False
        self._log = RotatingFileHandler(
            service.log, maxBytes=LARGEST_LOG, backupCount=1, delay=True
        )

    @property
    def pid(self) -> int | None:
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process and alive else None

    async def start(self) -> None:
        """Start and wait until it is ready.

        Raises:
            AskdocsError: it ended, or was not ready in time; with its last words.
        """
        service = self.service
        service.log.touch()  # it is there, also for a process that has nothing to say
        await self._spawn()
        began = time.monotonic()
        while not await service.ready():
            if self.pid is None:
                # Its output may still be on the way to the log.
                await self._drained()
                raise AskdocsError(f"{service.name} ended at its start: {last_words(service.log)}")
            if time.monotonic() - began > service.timeout:
                await self.stop()
                raise AskdocsError(
                    f"{service.name} was not ready in {service.timeout:.0f} s:"
                    f" {last_words(service.log)} (all of it in {service.log})"
                )
            await asyncio.sleep(0.2)
        self._supervision = self._tasks.start(f"supervision of {service.name}", self._keep)

    async def stop(self) -> None:
        """Stop it and all that it started, within GRACE and a little."""
        self._stopping = True
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.gather(self._supervision, return_exceptions=True)
        process = self._process
        if process is None:
            return
        signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_ended(process), GRACE)
        # Also when the leader has gone: what it started may still be there.
        signal_group(process.pid, signal.SIGKILL)
        await _ended(process)
        await self._drained()
        self._log.close()

    async def _spawn(self) -> None:
        service = self.service
        self._process = await asyncio.create_subprocess_exec(
            *service.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **service.env},
            start_new_session=True,
            preexec_fn=end_with_parent,
            limit=2**20,
        )
        self._reader = asyncio.create_task(self._read(self._process))
        self._changed()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                continue  # a line longer than the limit: its rest follows
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip("\n")
            self._write(text)
            if text.startswith("» "):
                self._say(text[2:])

    def _write(self, line: str) -> None:
        self._log.emit(logging.makeLogRecord({"msg": line}))

    async def _keep(self) -> None:
        try:
            await self._supervise()
        except Exception:
            self._tell("supervision failed; it begins again")
            raise

    async def _supervise(self) -> None:
        pause = FIRST_PAUSE
        began = time.monotonic()
        while True:
            happened = await self._over()
            if self._stopping:
                return
            if time.monotonic() - began > STEADY:
                pause = FIRST_PAUSE
            self._tell(f"{happened}; starting it again")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            self.restarts += 1
            try:
                await self._spawn()
            except OSError as error:  # no memory, no process to be had, a program that is away
                self._tell(f"cannot be started ({error})")
                continue  # it has ended still
            began = await self._back()

    async def _back(self) -> float:
        """Wait until it is ready again, or has ended. When that was."""
        began = time.monotonic()
        while self.pid is not None and not await self.service.ready():
            await asyncio.sleep(0.2)
            took = time.monotonic() - began
            if self.service.hung and took > self.service.timeout and self.pid is not None:
                self._tell(f"is not ready after {took:.0f} s: killed")
                signal_group(self.pid, signal.SIGKILL)
                return time.monotonic()
        now = time.monotonic()
        if self.pid is not None:
            self._say(f"is back after {now - began:.1f} s")
        return now

    async def _over(self) -> str:
        """Wait until it has ended, or hangs and is killed. What happened, for people."""
        process, hung = self._process, self.service.hung
        assert process is not None
        ending = asyncio.create_task(_ended(process))
        hanging = asyncio.ensure_future(hung(process.pid)) if hung else None
        tasks = [task for task in (ending, hanging) if task]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if hanging is None or ending.done():
                happened = f"ended ({how(await ending)})"
            else:
                happened = f"hangs ({hanging.result()}): killed"
            # Its children, too, and at once: there is nothing that it could still save.
            signal_group(process.pid, signal.SIGKILL)
            await ending
            return happened
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(self, text: str) -> None:
        """At the terminal and in the log."""
        self._say(text)
        self._write(f"askdocs: {text}")

    def _say(self, text: str) -> None:
        """Show it to people. A full disk or a closed terminal behind it must end no supervision."""
        with contextlib.suppress(OSError, ValueError):
            self._show(self.service.name, text)

    async def _drained(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._reader), 1)


def last_words(log: Path, lines: int = 3) -> str:
    """The last lines of a log that say something, joined."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return "it said nothing"
    written = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(written[-lines:]) or "it said nothing"


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Its exit code, as soon as it ended.

    Up to Python 3.12 `process.wait()` waits until its output is closed, too, which a child of a
    process that died holds open as long as it likes.
    """
    while process.returncode is None:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return process.returncode


def end_with_parent() -> None:
    """For `preexec_fn`: the process gets a SIGTERM when its parent dies, however that is."""
    # Runs between fork and exec: nothing here may allocate much or take a lock.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to all that a group's leader has started; none may be left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def how(code: int) -> str:
    """How a process ended, for people."""
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
