"""Checks the lock files against requirements/known_bad.toml, the list of forbidden releases.

Uses only the standard library, because set-up needs it before anything is installed.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from core.errors import AskdocsError, together

FILE = "known_bad.toml"
_PIN = re.compile(
    r"^[ \t]*+([A-Za-z0-9][A-Za-z0-9._-]*+)[ \t]*+(?:\[[^]]*+\])?[ \t]*+={2,3}[ \t]*+([^\s;\\]+)",
    re.MULTILINE,
)


class Pin(NamedTuple):
    """A package and version in a lock file."""

    name: str
    version: str


class Bad(NamedTuple):
    """A known bad release. `version` `*` matches all."""

    name: str
    version: str
    reason: str
    source: str


def read(file: Path, index: str = "pypi") -> list[Bad]:
    """The bad releases of an index, `pypi` or `npm`.

    Raises:
        AskdocsError: the file is missing, or not TOML in this format.
    """
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))[index]
        return [
            Bad(normal(entry["package"]), version, entry["reason"], entry["source"])
            for entry in entries
            for version in entry["versions"]
        ]
    except OSError as error:
        raise AskdocsError(f"{file}: {error.strerror}; install askdocs again") from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise AskdocsError(f"{file}: is not a list of bad releases ({error!r})") from None


def pins(lock: Path) -> Iterator[Pin]:
    """The pins of a lock file: pip's (`.lock`) or npm's `package-lock.json`."""
    text = lock.read_text(encoding="utf-8")
    if lock.suffix == ".json":
        for place, entry in json.loads(text)["packages"].items():
            if place and "version" in entry:
                name = entry.get("name") or place.rpartition("node_modules/")[2]
                yield Pin(name, entry["version"])
    else:
        for name, version in _PIN.findall(text):
            yield Pin(normal(name), version.partition("+")[0])


def refuse(locks: Iterable[Path], known: Path) -> None:
    """Raise AskdocsError if a lock file pins a known bad release."""
    bad = {(release.name, release.version): release for release in read(known)}
    problems = []
    for lock in locks:
        for name, version in pins(lock):
            if release := bad.get((name, version)) or bad.get((name, "*")):
                problems.append(
                    f"{lock}: {name} {version} must not be installed: {release.reason}"
                    f" ({release.source}); pin another release in pyproject.toml or the .in file"
                    " beside it, and run make lock"
                )
    if problems:
        raise together(problems)


def normal(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", name).lower() if not name.startswith("@") else name
