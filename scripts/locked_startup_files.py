"""Lists the files of locked wheels that run code whenever Python starts.

    .venv/bin/python scripts/locked_startup_files.py

`make lock` runs it. Its result, requirements/locked_startup_files.json, names the SHA-256 of each
lock file and what was found in its wheels; a test compares both with the lock files and with
requirements/startup_files.toml. So an environment that cannot be installed here, such as that of a
GPU, is not refused on the user's machine only. Of each wheel the list of files is read, and the
files at the top of site-packages; nothing is downloaded whole or executed.
"""

import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from pip._internal.models.index import PyPI

from askdocs.environments.startup_files import code_of

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
OUT = LOCKS / "locked_startup_files.json"
PYTHONS = ((3, 11), (3, 12), (3, 13))
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+?)(?:\s*;.*)?\s*\\?$")
# Folders of a wheel whose files land at the top of site-packages.
_TOP = re.compile(r"^([^/]+\.data/(purelib|platlib|data/lib/python[^/]*/site-packages)/)?[^/]+$")


class Startup(NamedTuple):
    """A line that runs at every start, or a module that is imported (no line)."""

    package: str
    file: str
    line: str


def main() -> int:
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        found = {lock.name: _of_lock(lock, client) for lock in sorted(LOCKS.glob("*.lock"))}
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    lines = sum(len(entry["found"]) for entry in found.values())
    print(f"{OUT.relative_to(ROOT)}: {len(found)} locks, {lines} lines that run at start")
    return 0


def _of_lock(lock: Path, client: httpx.Client) -> dict[str, Any]:
    text = lock.read_text(encoding="utf-8")
    pins = [(match[1], match[2]) for line in text.splitlines() if (match := _PIN.match(line))]
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", text))
    with ThreadPoolExecutor(16) as pool:
        each = pool.map(lambda pin: _of_package(*pin, frozenset(hashes), client), pins)
        found = sorted({startup for several in each for startup in several})
    print(f"{lock.name}: {len(pins)} packages", file=sys.stderr)
    return {
        "sha256": hashlib.sha256(lock.read_bytes()).hexdigest(),
        "found": [startup._asdict() for startup in found],
    }


@cache
def _of_package(
    name: str, version: str, hashes: frozenset[str], client: httpx.Client
) -> list[Startup]:
    """What runs at start in its wheels for the Pythons that are supported, on Linux x86-64."""
    accept = {"accept": "application/vnd.pypi.simple.v1+json"}
    address = f"{PyPI.simple_url}/{canonicalize_name(name)}/"
    files = client.get(address, headers=accept).raise_for_status().json()["files"]
    locked = [file for file in files if file["hashes"].get("sha256") in hashes]
    found: list[Startup] = []
    for url, size in sorted({(file["url"], file["size"]) for file in locked if _fits(file)}):
        found += _of_wheel(name, url, size, client)
    return found


def _fits(file: dict[str, Any]) -> bool:
    if not file["filename"].endswith(".whl"):
        return False
    return any(not _tags(python).isdisjoint(_wheel_tags(file["filename"])) for python in PYTHONS)


def _wheel_tags(name: str) -> frozenset[Tag]:
    return parse_wheel_filename(name)[3]


@cache
def _tags(python: tuple[int, int]) -> frozenset[Tag]:
    glibc = [f"manylinux_2_{minor}_x86_64" for minor in range(5, 42)]
    platforms = [*glibc, "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    platforms.append("linux_x86_64")
    return frozenset([*cpython_tags(python, platforms=platforms), *_pure(python, platforms)])


def _pure(python: tuple[int, int], platforms: list[str]) -> Iterator[Tag]:
    return compatible_tags(python, f"cp{python[0]}{python[1]}", platforms)


def _of_wheel(package: str, url: str, size: int, client: httpx.Client) -> list[Startup]:
    found = []
    with zipfile.ZipFile(io.BufferedReader(_Ranges(url, size, client), 65536)) as wheel:
        for path in wheel.namelist():
            name = path.rsplit("/", 1)[-1]
            if _TOP.match(path) and (lines := code_of(name, lambda path=path: wheel.read(path))):
                found += [Startup(package, name, line) for line in lines]
    return found


class _Ranges(io.RawIOBase):
    """A file behind HTTP of which only the ranges that are read are fetched."""

    def __init__(self, url: str, size: int, client: httpx.Client) -> None:
        self._url, self._size, self._client = url, size, client
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        headers = {"range": f"bytes={self._position}-{end - 1}"}
        data = self._client.get(self._url, headers=headers).raise_for_status().content
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


if __name__ == "__main__":
    sys.exit(main())
