"""A folder for unfinished work, removed afterwards or when the next work begins."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from askdocs.terminal import stopping

LOCK, WORK = "lock", "work"


@contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder for its owner alone, inside a hidden folder with this prefix.

    Leftovers of killed processes are removed first.
    """
    for lock in parent.glob(f"{prefix}*/{LOCK}"):
        with suppress(OSError), lock.open("r+") as held:  # in use, or somebody else's
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(lock.parent)
    folder = Path(mkdtemp(dir=parent, prefix=prefix))
    try:
        with (folder / f"{LOCK}.new").open("w") as held:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(held, fcntl.LOCK_EX)
                # It is locked before it appears under its name.
                Path(held.name).rename(folder / LOCK)
            work = folder / WORK
            work.mkdir()
            yield work
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove it despite any signals. The lock goes last, since it identifies a killed process's
    folder."""
    with stopping.held():
        shutil.rmtree(folder / WORK, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
