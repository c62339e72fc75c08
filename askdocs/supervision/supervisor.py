"""Supervises processes: starts them, prints their log lines, restarts them, stops them.

Each process has a log file with its output; lines that begin with `»` are shown to the user. Each
process leads its own group, so that its children are stopped with it, and asks the kernel for a
SIGTERM when its parent dies, so that a kill -9 leaves nothing behind.
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

from core.errors import AskdocsError
from core.tasks import Tasks

Say = Callable[[str, str], None]

GRACE = 5.0  # seconds between SIGTERM and SIGKILL
FIRST_PAUSE = 0.2  # seconds until a dead process is restarted
LONGEST_PAUSE = 15.0  # maximum: the pause doubles after each failure
STEADY = 60.0  # seconds of uptime that reset the pause
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
    """Polled every 0.2 s after a start until it returns true."""
    timeout: float
    """Seconds until the first start must be ready."""
    env: dict[str, str] = field(default_factory=dict)
    hung: Callable[[int], Awaitable[str]] | None = None
    """Given its pid, returns a description once the process hangs; it is then killed, as if it is
    not ready in time after a restart."""


class Running:
    """A supervised service."""

    def __init__(
        self,
        service: Service,
        say: Say,
        changed: Callable[[], None],
        tasks: Tasks | None = None,
    ) -> None:
        """`changed` is called for each new process; `tasks` are the supervisor's."""
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
        """Start it and wait until it is ready.

        Raises:
            AskdocsError: it ended, or was not ready in time; with its last output.
        """
        service = self.service
        service.log.touch()  # exists even if the process prints nothing
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
        """Stop it and its children within GRACE and a little."""
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
        # Even if the leader is gone: its children may still be running.
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
            self._tell("supervision failed; restarting it")
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
            except OSError as error:  # no memory, no free process, or a missing program
                self._tell(f"cannot be started ({error})")
                continue  # it is still ended
            began = await self._back()

    async def _back(self) -> float:
        """Wait until it is ready again or has ended; returns that time."""
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
            self._say(f"is up again after {now - began:.1f} s")
        return now

    async def _over(self) -> str:
        """Wait until it ends, or kill it if it hangs; returns a description."""
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
            # Kill its children, too: it has nothing left to save.
            signal_group(process.pid, signal.SIGKILL)
            await ending
            return happened
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(self, text: str) -> None:
        """Print it at the terminal and in the log."""
        self._say(text)
        self._write(f"askdocs: {text}")

    def _say(self, text: str) -> None:
        """Show it to the user. A full disk or closed terminal must not end supervision."""
        with contextlib.suppress(OSError, ValueError):
            self._show(self.service.name, text)

    async def _drained(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._reader), 1)


def last_words(log: Path, lines: int = 3) -> str:
    """The last non-empty lines of a log, joined."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return "it printed nothing"
    written = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(written[-lines:]) or "it printed nothing"


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Its exit code, as soon as it ends.

    Up to Python 3.12 `process.wait()` also waits until its output is closed, which a surviving
    child can hold open indefinitely.
    """
    while process.returncode is None:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return process.returncode


def end_with_parent() -> None:
    """For `preexec_fn`: send the process a SIGTERM when its parent dies for any reason."""
    # Runs between fork and exec: must not allocate much or take a lock.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process group, which may be empty."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def how(code: int) -> str:
    """How a process ended, for people."""
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
