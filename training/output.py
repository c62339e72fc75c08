"""Creates a folder of results atomically."""

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from core.errors import AskdocsError
from training.tuning.checkpoints import sync

# Linux's renameat2: swaps two folders without a moment in which either name is missing.
_EXCHANGE = 2
_HERE = -100


@contextmanager
def output(
    place: Path, force: bool, otherwise: str = "name another --out DIR, or add --force"
) -> Iterator[Path]:
    """A new folder to write into; if the block ends without an error, it becomes `place`.

    Until then it is beside `place`, under a name that begins with a dot. Leftovers of a killed
    process are removed.

    Args:
        place: must not exist, or be an empty folder.
        force: replace an existing folder.
        otherwise: the fix to suggest in the error, if `force` is not set.

    Raises:
        AskdocsError: `place` exists, or cannot be written.
    """
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise AskdocsError(f"{place}: is not a folder: name another")
    if not force and place.is_dir() and any(place.iterdir()):
        raise AskdocsError(f"{place}: is not empty: {otherwise}")
    place = place.absolute()
    new = place.with_name(f".{place.name}.{os.getpid()}.new")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _clean(place)
        new.mkdir()
    except OSError as error:
        raise AskdocsError(f"{place}: cannot be written ({error.strerror})") from None
    try:
        yield new
        sync(new)
        _move(new, place)
    except OSError as error:
        raise AskdocsError(f"{place}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _clean(place: Path) -> None:
    for left in place.parent.glob(f".{place.name}.*.new"):
        pid = left.suffixes[-2].removeprefix(".")
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _move(new: Path, place: Path) -> None:
    """Move `new` to `place`. A non-empty folder at `place` moves to `new`, or is deleted."""
    if not place.exists() or not any(place.iterdir()):
        new.replace(place)
    elif not _exchange(new, place):
        # A kill between the two renames leaves the old folder under the other name.
        aside = place.with_name(f"{place.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)
        new.rename(place)
        shutil.rmtree(aside)
    handle = os.open(place.parent, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step. False if the system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(first), os.fsencode(second)
    return rename is not None and rename(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0
