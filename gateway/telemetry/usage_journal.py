"""Usage not yet written to the database, kept in files that survive a kill -9.

A worker appends a line per request to a *segment* before the end of the answer is sent. Each write
to the database covers one or more segments, which are then deleted. A dead worker's lock is free:
any other worker writes its remaining segments. The database records the segments' names in the same
transaction as their sums, so none counts twice.

Lines are in the kernel's cache, not synced to disk: a power failure loses the last ones.
"""

import fcntl
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import orjson

from gateway.telemetry.names import storable

log = logging.getLogger("askdocs.gateway")

LOCK = ".lock"
SEGMENT = ".usage"


class UsageRecord(NamedTuple):
    """One request."""

    key_id: str
    day: int
    """Days since 1970-01-01, UTC."""
    team: str
    alias: str
    model: str
    prompt_tokens: int
    completion_tokens: int


class Segment(NamedTuple):
    """A file of lines that is no longer written to."""

    name: str
    lines: list[UsageRecord]


class UsageJournal:
    """The segments of one worker, in a folder that all workers share. For one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError: the folder cannot be created or written."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._worker = secrets.token_hex(6)
        self._count = 0
        self._file: int | None = None
        self._sealed: list[str] = []
        self._failing = False
        # Lock it before it gets its name: an existing, free lock means a dead worker.
        making = folder / f"{self._worker}.making"
        self._lock = os.open(making, os.O_CREAT | os.O_WRONLY, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        making.rename(folder / f"{self._worker}{LOCK}")

    def add(self, line: UsageRecord) -> None:
        """Add a request. Does not fail: with a full disk it stays in memory only, and this is
        logged."""
        try:
            if self._file is None:
                self._count += 1
                name = f"{self._worker}-{self._count}"
                flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
                self._file = os.open(self._path(name), flags, 0o600)
                self._sealed.append(name)
            os.write(self._file, _dumped(line) + b"\n")
        except OSError as error:
            if not self._failing:
                log.warning("%s: usage is kept only in memory: %s", self._folder, error)
            self._failing = True
        else:
            self._failing = False

    def seal(self) -> list[str]:
        """Returns the names of all segments so far; later requests go to a new one."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        return list(self._sealed)

    def drop(self, names: Sequence[str]) -> None:
        """Delete segments that are in the database."""
        for name in names:
            self._path(name).unlink(missing_ok=True)
        self._sealed = [name for name in self._sealed if name not in names]

    def close(self) -> None:
        """End this worker. Other workers take over its remaining segments."""
        self.seal()
        if not self._sealed:
            (self._folder / f"{self._worker}{LOCK}").unlink(missing_ok=True)
        os.close(self._lock)

    def orphans(self) -> list[str]:
        """The dead workers with remaining segments."""
        locks = self._folder.glob(f"*{LOCK}")
        return [lock.stem for lock in locks if lock.stem != self._worker]

    @contextmanager
    def left_by(self, worker: str) -> Iterator[list[Segment]]:
        """A worker's remaining segments, deleted at the end of the block; empty while it is
        alive."""
        path = self._folder / f"{worker}{LOCK}"
        try:
            lock = os.open(path, os.O_WRONLY)
        except FileNotFoundError:
            yield []
            return
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield []
                return
            files = sorted(self._folder.glob(f"{worker}-*{SEGMENT}"))
            yield [Segment(file.stem, list(_lines(file))) for file in files]
            for file in (*files, path):
                file.unlink(missing_ok=True)
        finally:
            os.close(lock)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SEGMENT}"


def _dumped(line: UsageRecord) -> bytes:
    try:
        return orjson.dumps((*line,))
    except TypeError:  # an unpaired surrogate
        return orjson.dumps([storable(part) if isinstance(part, str) else part for part in line])


def _lines(file: Path) -> Iterator[UsageRecord]:
    for text in file.read_bytes().splitlines():
        try:
            yield UsageRecord(*orjson.loads(text))
        except (ValueError, TypeError):  # truncated by a full disk
            log.error("%s: not a line of usage: %r", file, text[:200])
