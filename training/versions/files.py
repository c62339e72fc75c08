"""Computes and verifies the SHA-256 of a folder's files."""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from core.errors import AskdocsError, together
from training.versions.manifest import BESIDE, File, total
from wiki.sources.sync import Progress

CHUNK = 4 * 2**20
MEGABYTE = 1_000_000
NEW = ".new"

Count = Callable[[int], None]
"""Called with the number of bytes newly processed."""


def counter(step: str, total: int, progress: Progress) -> Count:
    """Reports bytes to `progress` in megabytes; thread-safe."""
    lock = threading.Lock()
    done = 0

    def count(more: int) -> None:
        nonlocal done
        with lock:
            done += more
            progress(f"{step} (MB)", done // MEGABYTE, total // MEGABYTE)

    return count


def is_unfinished(name: str) -> bool:
    """Is it the temporary name of a file or folder being written, or left by an interrupted
    write?"""
    return name.startswith(".") and name.endswith(NEW)


def listed(folder: Path, unfinished: bool = False) -> dict[str, Path]:
    """The files under a folder by relative path, sorted; links count as their targets.

    Files that vanish meanwhile are skipped. Raises OSError.

    Args:
        unfinished: include temporary files.
    """
    paths = {}
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_unless_gone):
        if not unfinished:
            folders[:] = [name for name in folders if not is_unfinished(name)]
            names = [name for name in names if not is_unfinished(name)]
        for path in (Path(place, name) for name in names):
            paths[path.relative_to(folder).as_posix()] = path
    return dict(sorted(paths.items()))


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def measure(folder: Path, progress: Progress) -> dict[str, File]:
    """Size and SHA-256 of every file under a folder, for a manifest.

    Raises:
        AskdocsError: the folder is empty, or a file cannot be read.
    """
    try:
        files = listed(folder)
        if not files:
            raise AskdocsError(f"{folder}: has no files: name the folder that training wrote")
        sizes = {name: path.stat().st_size for name, path in files.items()}
        count = counter(f"reading {folder.name}", sum(sizes.values()), progress)
        return {
            name: File(sha256=digest(path, count), bytes=sizes[name])
            for name, path in files.items()
        }
    except OSError as error:
        raise AskdocsError(f"{error.filename}: cannot be read ({error.strerror})") from None


def digest(path: Path, count: Count) -> str:
    """The SHA-256 of a file."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            sha256.update(chunk)
            count(len(chunk))
    return sha256.hexdigest()


def unchanged(source: Path, copy: Path, file: File, count: Count) -> None:
    """Raises AskdocsError if a copy differs from its source as measured."""
    if digest(copy, count) != file.sha256:
        raise AskdocsError(
            f"{source}: changed while it was copied: repeat this when nothing writes to it"
        )


def verify(
    folder: Path, files: Mapping[str, File], place: str, fix: str, progress: Progress
) -> None:
    """Verify that a folder contains exactly the files of a manifest.

    Args:
        place: prefix for file paths in errors.
        fix: the fix, for errors.

    Raises:
        AskdocsError: a line for each missing, different or extra file.
    """
    count = counter(f"verifying {folder.name}", total(files), progress)
    there = listed(folder)
    problems = [
        f"{place}{name}: is not in the manifest: remove it"
        for name in there
        if name not in files and name.split("/")[0] not in BESIDE
    ]
    for name, file in files.items():
        if name not in there:
            problems.append(missing(place + name, fix))
        elif (size := there[name].stat().st_size) != file.bytes:
            problems.append(resized(place + name, size, file, fix))
        elif (actual := digest(there[name], count)) != file.sha256:
            problems.append(f"{place}{name}: has the SHA-256 {actual}, not {file.sha256}: {fix}")
    if problems:
        raise together(problems)


def missing(place: str, fix: str) -> str:
    """The problem in a line."""
    return f"{place}: is in the manifest, but missing: {fix}"


def resized(place: str, size: int, file: File, fix: str) -> str:
    """The problem in a line."""
    return f"{place}: has {size:,} bytes, not {file.bytes:,}: {fix}"
