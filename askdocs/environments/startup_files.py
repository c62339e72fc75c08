"""Finds the files through which packages run code whenever an environment's Python starts.

LiteLLM 1.82.8 stole credentials with such a file, without being imported.
requirements/startup_files.toml lists the known and needed files; everything else is an error. Files
are read as text, without starting the environment's Python. What runs code:
https://docs.python.org/3/library/site.html, and
`.start` files from Python 3.15 on: https://peps.python.org/pep-0829/.
"""

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from core.errors import AskdocsError, together

FILE = "startup_files.toml"
HERE = Path(__file__).resolve().parents[2]
"""The folder that an editable installation adds to the path."""
_MODULE = re.compile(r"(site|user)customize(\..*)?$")
_OUTSIDE = re.compile(
    r"^[^\S\n]*include-system-site-packages[^\S\n]*=[^\S\n]*true[^\S\n]*$", re.I | re.M
)


class StartupFile(NamedTuple):
    """A file or line that runs code, or can make code run, at every start."""

    file: Path
    line: str
    """The line of a `.pth` or `.start` file; empty for a module."""
    what: str
    """What it does, for people."""


def allowed(file: Path) -> set[tuple[str, str]]:
    """The allowed file names and lines.

    Raises:
        AskdocsError: the list is missing, or has another format.
    """
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))["allowed"]
        return {(entry["file"], entry["line"]) for entry in entries if entry["reason"]}
    except OSError as error:
        raise AskdocsError(f"{file}: {error.strerror}; install askdocs again") from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise AskdocsError(f"{file}: is not a list of start-up files ({error!r})") from None


def find(environment: Path) -> list[StartupFile]:
    """Everything found in a virtual environment, allowed or not.

    Raises:
        AskdocsError: the folder is not a virtual environment.
    """
    config = environment / "pyvenv.cfg"
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise AskdocsError(f"{environment}: no virtual environment (no pyvenv.cfg)") from None
    files = []
    if _OUTSIDE.search(text):
        files.append(StartupFile(config, "", "includes the system's packages"))
    for site in sorted(
        {folder.resolve() for folder in environment.glob("lib*/python*/site-packages")}
    ):
        files += _in_site(site, environment.resolve())
    return files


def refuse(environment: Path, known: Path) -> list[StartupFile]:
    """The allowed startup files. Raises AskdocsError if there are others."""
    names = allowed(known)
    files = find(environment)
    problems = [
        f"{entry.file}: {entry.what}, and is not in {known}: read it before you start anything"
        f" there; if you cannot tell why it is there, remove {environment} and set it up again"
        for entry in files
        if (entry.file.name, entry.line.strip()) not in names
    ]
    if problems:
        raise together(list(dict.fromkeys(problems)))
    return files


def _in_site(site: Path, environment: Path) -> Iterator[StartupFile]:
    yield from _modules(site)
    for file in sorted(site.iterdir()):
        if file.suffix not in (".pth", ".start") or not file.is_file():
            continue
        for line in _lines(file.read_bytes()):
            if _runs(file.name, line):
                yield StartupFile(file, line, f"runs “{line.strip()[:100]}” whenever Python starts")
                continue
            folder = (site / line.strip()).resolve()
            if folder != HERE and not folder.is_relative_to(environment):
                yield StartupFile(file, line, f"makes Python import from {folder}")
            elif folder.is_dir():
                yield from _modules(folder)


def code_of(name: str, read: Callable[[], bytes]) -> list[str]:
    """What a top-level file of site-packages runs at every start: lines, or "" for a module.

    Args:
        name: the file's name.
        read: returns its content; called only for `.pth` and `.start` files.
    """
    if _MODULE.match(name):
        return [""]
    if not name.endswith((".pth", ".start")):
        return []
    return [line.strip() for line in _lines(read()) if _runs(name, line)]


def _lines(content: bytes) -> list[str]:
    """The effective lines, split at every line ending of any Python version."""
    lines = content.decode("utf-8-sig", "replace").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _runs(name: str, line: str) -> bool:
    return name.endswith(".start") or line.startswith(("import ", "import\t"))


def _modules(folder: Path) -> Iterator[StartupFile]:
    for file in sorted(folder.iterdir()):
        if _MODULE.match(file.name):
            yield StartupFile(file, "", "is imported whenever Python starts")
