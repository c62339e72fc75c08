"""The access log: one JSON line per request, described in docs/how-to/monitoring.md."""

import logging
import os
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from core.errors import AskdocsError
from core.tasks import Tasks

log = logging.getLogger("askdocs.gateway")

STDOUT = "-"
BACKLOG = 16 * 2**20  # bytes that may wait for a slow disk; further lines are dropped
BATCH = 0.05  # seconds to gather lines for one write
LONGEST = 500  # characters of values that clients choose: path, method, alias
# Up to this length, a write to a pipe is not interleaved with another process's: pipe(7).
WHOLE = select.PIPE_BUF


@dataclass(slots=True, kw_only=True)
class AccessLogEntry:
    """One request. Times are in seconds; unknown values are None."""

    request_id: str
    method: str
    path: str
    """Without the query string, which may be confidential."""
    status: int
    duration: float
    ttft: float | None = None
    key_id: str | None = None
    key_name: str | None = None
    team: str | None = None
    alias: str | None = None
    """The requested model."""
    model: str | None = None
    """The model that answered."""
    lane: str | None = None
    """`fast` or `litellm`."""
    stream: bool = False
    grounded: bool = False
    refused: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    fallback: str | None = None
    """The reason why another model answered than the first choice."""
    client: str | None = None
    prompt: str | None = None
    """The question, or the messages as JSON; written only if the log is configured to."""
    answer: str | None = None


class AccessLog:
    """Writes lines in its own thread, so that a slow disk or reader blocks no request.

    Several processes may write to one file: it is opened in append mode, and each write holds whole
    lines. If the file is renamed, as logrotate does, a new one is started. Call `write` and `close`
    from the event loop's thread only.
    """

    def __init__(
        self,
        path: str | None,
        prompts: bool = False,
        on_drop: Callable[[int], None] = lambda lines: None,
        tasks: Tasks | None = None,
    ) -> None:
        """
        Args:
            path: the file; `-` is standard output; None or empty: no log.
            prompts: write questions and answers, too.
            on_drop: called, also from the writing thread, with the number of dropped lines.
            tasks: runs the writing thread.

        Raises:
            AskdocsError: the file cannot be written.
        """
        self._prompts = prompts
        self._on_drop = on_drop
        self._lines: deque[bytes] = deque()
        self._batch: list[bytes] = []
        # Each is changed by one thread only; their difference is the backlog.
        self._put = 0
        self._taken = 0
        self._closing = False
        self._wake = threading.Event()
        self._sink = _Sink(path) if path else None
        if self._sink:
            work = ("access log", self._run, threading.Event())  # it ends by itself
            self._thread = threading.Thread(
                target=(tasks or Tasks()).go_on, args=work, name="access-log", daemon=True
            )
            self._thread.start()

    @property
    def is_on(self) -> bool:
        return self._sink is not None

    @property
    def wants_prompts(self) -> bool:
        """Do lines include `prompt` and `answer`?"""
        return self.is_on and self._prompts

    def write(self, entry: AccessLogEntry) -> None:
        """Log a request that has just ended. Does not block or fail."""
        if not self._sink:
            return
        line = _line(entry, self._prompts)
        if self._put - self._taken > BACKLOG:
            self._on_drop(1)
            return
        self._put += len(line)
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout: float = 2) -> None:
        """Write pending lines, for at most `timeout` seconds."""
        if not self._sink:
            return
        self._closing = True
        self._wake.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._on_drop(len(self._lines) + len(self._batch))
        else:
            self._sink.close()
        self._sink = None

    def _run(self) -> None:
        assert self._sink
        sink = self._sink
        closing = False
        if self._batch:  # the last write failed
            self._wake.set()
        while not closing:
            self._wake.wait()
            if not self._closing:
                time.sleep(BATCH)
            self._wake.clear()
            closing = self._closing
            while self._lines:
                self._batch.append(self._lines.popleft())
            unwritten = sink.write(self._batch)
            self._taken += sum(map(len, self._batch))
            self._batch = []
            if unwritten:
                self._on_drop(unwritten)


class _Sink:
    """The destination of the lines: a file that may be renamed meanwhile, or standard output."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_torn = False
        self._complained = False
        try:
            self._fd = sys.stdout.fileno() if path == STDOUT else self._open()
        except OSError as error:
            raise AskdocsError(
                f"[gateway] access_log: {path} cannot be written ({error.strerror or error}): "
                "name a file in an existing folder that you may write to"
            ) from None

    def write(self, lines: list[bytes]) -> int:
        """Write whole lines; returns the number of lines that could not be written."""
        done = 0
        try:
            self._follow()
            for part in _parts(lines):
                self._write_all(b"".join(part))
                done += len(part)
            self._complained = False
        except OSError as error:
            if not self._complained:
                log.warning("access log %s: %s; lines are dropped", self._path, error)
            self._complained = True
        return len(lines) - done

    def close(self) -> None:
        if self._path != STDOUT:
            os.close(self._fd)

    def _open(self) -> int:
        # Non-blocking: opening a pipe would wait for its reader.
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        opened = os.open(self._path, how, 0o640)
        if _is_cut(self._path):
            os.write(opened, b"\n")
        return opened

    def _follow(self) -> None:
        """Start a new file if the old one was renamed or removed."""
        if self._path == STDOUT:
            return
        ours = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            fresh = self._open()
            os.close(self._fd)
            self._fd = fresh
            self._is_torn = False

    def _write_all(self, data: bytes) -> None:
        """Raises OSError."""
        if self._is_torn:  # the file ends with half a line of ours, after a full disk
            data = b"\n" + data
        rest = memoryview(data)
        while rest:
            try:
                count = os.write(self._fd, rest)
            except BlockingIOError:  # the pipe is full
                select.select([], [self._fd], [], 1)
                continue
            rest = rest[count:]
            self._is_torn = bool(rest)


def _is_cut(path: str) -> bool:
    """Does a file end in the middle of a line? A kill -9 may end a write at a page boundary."""
    if not os.path.isfile(path):
        return False  # a pipe, a terminal
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) not in (b"", b"\n")


def _parts(lines: list[bytes]) -> list[list[bytes]]:
    """Groups lines into at most `WHOLE` bytes, or a single longer line."""
    parts: list[list[bytes]] = []
    room = 0
    for line in lines:
        if not parts or len(line) > room:
            parts.append([])
            room = WHOLE
        parts[-1].append(line)
        room -= len(line)
    return parts


def _line(entry: AccessLogEntry, prompts: bool) -> bytes:
    fields: dict[str, Any] = {
        "time": datetime.now(UTC),
        "request_id": entry.request_id,
        "method": entry.method[:LONGEST],
        "path": entry.path[:LONGEST],
        "status": entry.status,
        "key_id": entry.key_id,
        "key_name": entry.key_name,
        "team": entry.team,
        "alias": entry.alias and entry.alias[:LONGEST],
        "model": entry.model,
        "lane": entry.lane,
        "stream": entry.stream,
        "grounded": entry.grounded,
        "refused": entry.refused,
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens,
        "ttft_ms": entry.ttft and round(entry.ttft * 1000, 1),
        "duration_ms": round(entry.duration * 1000, 1),
        "fallback": entry.fallback,
        "client": entry.client,
    }
    if prompts:
        fields["prompt"] = entry.prompt
        fields["answer"] = entry.answer
    try:
        line = orjson.dumps(fields, option=_OPTIONS)
    except TypeError:  # an unpaired surrogate, which JSON can carry and UTF-8 cannot
        for name, value in fields.items():
            if isinstance(value, str):
                fields[name] = value.encode("utf-8", "replace").decode()
        line = orjson.dumps(fields, option=_OPTIONS)
    if line.isascii() and b"\x7f" not in line:
        return line
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line.decode()).encode()


_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
# Characters that JSON allows, but that end a line for some readers (U+0085, U+2028), control
# terminals (DEL, U+009B) or change the text direction, see https://trojansource.codes/.
_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
