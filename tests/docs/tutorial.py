"""Runs the commands of a tutorial in the order of the page, and compares what the page shows.

Commands are the lines of its `sh` blocks, run in one shell, so that `cd` and `export` hold for the
commands after them. A command that stays in the foreground is left running, as in the reader's
second terminal. A `text` block is what the last command above it prints; numbers with a
decimal point (times, scores) may differ, and a line of `...` stands for any lines.
"""

import os
import re
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^## ([^\n]*)|^( *)```(\w*)\n(.*?)^\2```", re.M | re.S)
# Commands that stay in the foreground, with what they print once they are ready.
_STAYS = {"askdocs up": "\nready after"}
_MARK = "--- the exit code is"


@dataclass
class Step:
    """A command, and what the page shows below it."""

    command: str
    heading: str
    shown: list[str] = field(default_factory=list)


def steps(page: Path) -> list[Step]:
    """The commands of a page in order."""
    found: list[Step] = []
    heading = ""
    for title, _, language, code in _FENCE.findall(page.read_text(encoding="utf-8")):
        heading = title or heading
        lines = textwrap.dedent(code).splitlines()
        if language == "text":
            found[-1].shown += lines
        if language != "sh":
            continue
        whole = ""
        for line in lines:
            whole += line
            if line.endswith("\\"):
                whole += "\n"
            elif whole.strip():
                found.append(Step(whole, heading))
                whole = ""
            else:
                whole = ""
    return found


@dataclass
class Tutorial:
    """One run of a page."""

    folder: Path
    """Where the commands run; holds `.venv`."""
    instead: Mapping[str, str]
    """What stands on the page, and what the test has in place of it: addresses, tokens, ports."""
    given: tuple[str, ...] = ()
    """How commands begin whose result the test has already, such as an installation."""
    acts: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    """What people do in a browser before the first command below a heading."""

    def run(self, page: Path, environment: Mapping[str, str]) -> list[str]:
        """Run all commands of a page; what each printed. Raises AssertionError: one failed, or does
        not print what the page shows."""
        (self.folder / ".venv").symlink_to(ROOT / ".venv")
        printed = []
        acts = dict(self.acts)
        with _shell(self.folder, environment) as shell:
            for step in steps(page):
                if step.command.startswith(self.given or ("\0",)):
                    continue
                if act := acts.pop(step.heading, None):
                    act()
                output = shell.run(self._ours(step.command))
                self._compare(step, output)
                printed.append(output)
        assert not acts, f"{page.name} has no heading {list(acts)}"
        return printed

    def _ours(self, text: str) -> str:
        for theirs, ours in self.instead.items():
            text = text.replace(theirs, ours)
        return text

    def _compare(self, step: Step, output: str) -> None:
        printed = [_normal(line) for line in output.splitlines()]
        for line in step.shown:
            if line.strip() not in ("", "..."):
                wanted = _normal(self._ours(line))
                assert wanted in printed, f"{step.command} does not print {line!r}:\n{output}"


class _Shell:
    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._running: int | None = None
        self._number = 0

    def run(self, command: str) -> str:
        """What it prints. Raises AssertionError: it fails."""
        for name, ready in _STAYS.items():
            if name in command:
                return self._start(command, ready)
        return self._send(f"{{ {command}\n}} </dev/null")

    def _send(self, command: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{command}\n_code=$?; echo; echo {_MARK} $_code\n")
        self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            if line.startswith(_MARK):
                output = "".join(lines)
                assert line.removeprefix(_MARK).strip() == "0", f"{command}\n{output}"
                return output
            lines.append(line)
        raise AssertionError(f"the shell ended at {command}")

    def _start(self, command: str, ready: str, seconds: float = 240) -> str:
        self.stop()
        self._number += 1
        out = self._folder / f"foreground-{self._number}.txt"
        said = self._send(f"{command} </dev/null >{out} 2>&1 & echo $!")
        self._running = int(said.split()[0])
        end = time.monotonic() + seconds
        while ready not in (text := out.read_text() if out.exists() else ""):
            assert _lives(self._running), f"{command} ended:\n{text}"
            assert time.monotonic() < end, f"{command} is not ready:\n{text}"
            time.sleep(0.2)
        return text

    def stop(self) -> None:
        """End what runs in the foreground, as Ctrl-C does."""
        if self._running is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._running, signal.SIGINT)
        end = time.monotonic() + 60
        while _lives(self._running):
            assert time.monotonic() < end, "it does not stop"
            time.sleep(0.1)
        self._running = None


@contextmanager
def _shell(folder: Path, environment: Mapping[str, str]) -> Iterator[_Shell]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ASKDOCS_")}
    process = subprocess.Popen(
        ["bash", "--noprofile", "--norc"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**kept, **environment},
        start_new_session=True,
    )
    shell = _Shell(process, folder)
    try:
        yield shell
        shell.stop()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _normal(line: str) -> str:
    """A line without its times and scores, and without repeated spaces."""
    return " ".join(re.sub(r"\d+\.\d+", "0.0", line).split())
