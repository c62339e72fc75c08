"""Runs the commands of a tutorial in the order of the page, and compares what the page shows.

Commands are the lines of its `sh` blocks, run in one shell, so that `cd` and `export` hold for the
commands after them. A command that stays in the foreground is left running, as in the reader's
second terminal. A `text` block is what the last command above it prints; times, and numbers with a
decimal point, may differ, and `...` stands for any text, or alone for any lines. A block in
another language is a file: the line above it ends with "as `NAME`:", or with "to `NAME`:" for lines
that are appended to a file.
"""

import os
import re
import shutil
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from askdocs.environments import Recipe, find
from tests.parts import require

ROOT = Path(__file__).resolve().parents[2]
# What a clone has and tutorials use.
_CLONE = (".venv", "Makefile", "docs", "scripts")
# Readers edit these, so each test has a copy.
_COPIED = ("examples",)
_FENCE = re.compile(
    r"^## (?P<title>[^\n]*)"
    r"|(?:\b(?P<way>as|to) `(?P<file>[^`\n]+)`:\n\n)?"
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```",
    re.M | re.S,
)
# Blocks that readers paste into another program.
_PASTED = ("html",)
# Commands that stay in the foreground, with what they print once they are ready.
_STAYS = {"askdocs up": "Ctrl-C stops everything", "make run": "Ctrl-C stops everything"}
_MARK = "--- the exit code is"


@dataclass
class Step:
    """A command, or a file that the reader writes, and what the page shows below it."""

    command: str
    heading: str
    shown: list[str] = field(default_factory=list)
    file: str = ""
    """Its name, if `command` is the text of a file."""
    appends: bool = False


def steps(page: Path) -> list[Step]:
    """The commands and files of a page in order."""
    found: list[Step] = []
    heading = ""
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        heading = match["title"] or heading
        language, code = match["language"], textwrap.dedent(match["code"] or "")
        if language == "text":
            found[-1].shown += code.splitlines()
        elif language == "sh":
            found += [Step(command, heading) for command in commands(code)]
        elif match["file"]:
            found.append(Step(code, heading, file=match["file"], appends=match["way"] == "to"))
        elif language and language not in _PASTED:
            raise AssertionError(f"{page.name}: no line names the file of\n{code}")
    return found


def commands(code: str) -> Iterator[str]:
    """The commands of a block: lines, or several that belong together."""
    whole = ""
    for line in code.splitlines():
        whole += line
        if whole.endswith("\\") or whole.count("'") % 2:  # goes on in the next line
            whole += "\n"
        else:
            if whole.strip():
                yield whole
            whole = ""


class Terminal:
    """A shell in the reader's folder, and what they left running in the foreground of another."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._running: int | None = None
        self._output = folder / "foreground.txt"

    def follow(
        self,
        page: Path,
        instead: Mapping[str, str] | None = None,
        given: tuple[str, ...] = (),
        acts: Mapping[str, Callable[[], None]] | None = None,
    ) -> list[str]:
        """Run all commands of a page; what each printed.

        `instead` has what the test uses in place of addresses, tokens and paths of the page;
        `given` is how commands begin whose result the test has already, such as an installation;
        `acts` are what people do in a browser before the first command below a heading.

        Raises AssertionError: one failed, or does not print what the page shows.
        """
        instead = instead or {}
        acts = dict(acts or {})
        printed = []
        for step in steps(page):
            if not step.file and step.command.startswith(given or ("\0",)):
                continue
            if act := acts.pop(step.heading, None):
                act()
            text = _replaced(step.command, instead)
            output = self._write(step, text) if step.file else self.run(text)
            _compare(step, output, instead)
            printed.append(output)
        assert not acts, f"{page.name} has no heading {list(acts)}"
        return printed

    def run(self, command: str) -> str:
        """What it prints. Raises AssertionError: it fails."""
        for name, ready in _STAYS.items():
            if name in command:
                return self._start(command, ready)
        return self._send(f"{{ {command}\n}} </dev/null")

    def stop(self) -> str:
        """End what runs in the foreground, as Ctrl-C does; what it printed."""
        if self._running is None:
            return ""
        with suppress(ProcessLookupError):
            os.killpg(self._running, signal.SIGINT)
        end = time.monotonic() + 60
        while _lives(self._running):
            assert time.monotonic() < end, "it does not stop"
            time.sleep(0.1)
        self._running = None
        return self._output.read_text()

    def kill(self) -> None:
        """End all at once."""
        for group in (self._running, self._process.pid):
            if group is not None:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
        self._process.communicate()

    def _write(self, step: Step, text: str) -> str:
        path = Path(self._send("pwd").strip(), step.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if step.appends else "w", encoding="utf-8") as file:
            file.write(text)
        return ""

    def _send(self, command: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{command}\n_code=$?; echo; echo {_MARK} $_code\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith(_MARK):
                output = "".join(lines)
                assert line.removeprefix(_MARK).strip() == "0", f"{command}\n{output}"
                return output
            lines.append(line)
        raise AssertionError(f"the shell ended at {command}")

    def _start(self, command: str, ready: str, seconds: float = 240) -> str:
        self.stop()
        self._output.unlink(missing_ok=True)
        # With job control it has a process group of its own, as in a terminal.
        begun = self._send(
            f"set -m; {{ {command}\n}} </dev/null >{self._output} 2>&1 & echo $!; set +m"
        )
        self._running = int(begun.split()[0])
        end = time.monotonic() + seconds
        while ready not in (text := self._output.read_text() if self._output.exists() else ""):
            assert _lives(self._running), f"{command} ended:\n{text}"
            assert time.monotonic() < end, f"{command} is not ready:\n{text}"
            time.sleep(0.2)
        return text


@contextmanager
def terminal(folder: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """A terminal in a folder that looks like a clone after its set-up, but for files of its own."""
    for name in _CLONE:
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    for name in _COPIED:
        if not (folder / name).exists():
            shutil.copytree(ROOT / name, folder / name)
    ours = ("ASKDOCS_", "MAKE", "MFLAGS", "PYTHON")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
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
    opened = Terminal(process, folder)
    try:
        yield opened
        opened.stop()
    finally:
        opened.kill()


def reuse(recipe: Recipe, folder: Path) -> None:
    """An environment that other tests use, too, in place of the one that a command would make."""
    home = ROOT / ".cache" / recipe.name
    how = f".venv/bin/python -m askdocs.environments {recipe.name} --home .cache/{recipe.name}"
    require(find(recipe, home) is not None, how)
    made = folder / ".askdocs" / "environments"
    made.mkdir(parents=True, exist_ok=True)
    if not (made / recipe.name).exists():
        (made / recipe.name).symlink_to(home / "environments" / recipe.name)


def _replaced(text: str, instead: Mapping[str, str]) -> str:
    for theirs, ours in instead.items():
        text = text.replace(theirs, ours)
    return text


def _compare(step: Step, output: str, instead: Mapping[str, str]) -> None:
    printed = [_normal(line) for line in output.splitlines()]
    for line in step.shown:
        if line.strip() not in ("", "..."):
            wanted = re.escape(_normal(_replaced(line, instead))).replace(r"\.\.\.", ".*")
            assert any(re.fullmatch(wanted, one) for one in printed), (
                f"{step.command} does not print {line!r}:\n{output}"
            )


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _normal(line: str) -> str:
    """A line without its times and scores, and without repeated spaces."""
    return " ".join(re.sub(r"\d+\.\d+|\d+(?= s\b)", "0.0", line).split())
