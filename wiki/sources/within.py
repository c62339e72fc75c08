"""Reads files inside one folder and refuses paths outside it.

A wiki's own files refer to other files: settings of its generator, snippets, includes, links.
Anyone who may write a page writes them, and a sync reads with its own user's permissions. So a
source reads all files of a folder through `Bounds`.
"""

import errno
import os
from pathlib import Path
from stat import S_ISREG

# In the folder, but not for its authors: they contain keys.
_PRIVATE = frozenset((".git", ".hg", ".svn", ".env", ".askdocs"))
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
# Opening a pipe in place of a file would block.
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_IS_LINK = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)


class Outside(ValueError):
    """The file is outside the folder, or not readable for wiki readers."""


class Bounds:
    """A folder outside which nothing is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._real = os.path.realpath(folder)

    def holds(self, path: Path | str) -> bool:
        """Is the file or folder within the folder, after resolving links?"""
        try:
            self._parts(os.path.realpath(path))
        except (Outside, OSError):
            return False
        return True

    def is_file(self, path: Path) -> bool:
        """Is there a readable file?"""
        return self.holds(path) and path.is_file()

    def read(self, path: Path, largest: int, whole: bool = True) -> bytes:
        """The bytes of a file; without `whole`, only its beginning.

        Raises:
            OSError: it cannot be read.
            Outside: it is outside the folder, or a link that leads out of it.
            ValueError: it is not a file, or larger than `largest` bytes.
        """
        handle = self._open(path)
        try:
            if not S_ISREG(os.fstat(handle).st_mode):
                raise ValueError("not a regular file")
            with os.fdopen(handle, "rb", closefd=False) as opened:
                data = opened.read(largest + 1)
        finally:
            os.close(handle)
        if len(data) > largest and whole:
            raise ValueError(f"larger than {largest // 2**20} MiB")
        return data[:largest]

    def _open(self, path: Path) -> int:
        """Opens a resolved path without following links, so that nobody can replace the file with
        one."""
        written = os.path.abspath(path)
        if written.startswith(os.path.join(self.folder, "")):
            try:
                return self._walk(_split(os.path.relpath(written, self.folder)))
            except OSError as error:
                if error.errno not in _IS_LINK:
                    raise
        return self._walk(self._parts(os.path.realpath(written)))

    def _parts(self, real: str) -> list[str]:
        """The path components from the folder to a resolved path."""
        if real != self._real and not real.startswith(os.path.join(self._real, "")):
            raise Outside(f"outside of {self.folder}")
        return _split(os.path.relpath(real, self._real))

    def _walk(self, parts: list[str]) -> int:
        place = os.open(self._real, _FOLDER)
        try:
            for part in parts[:-1]:
                below = os.open(part, _FOLDER, dir_fd=place)
                os.close(place)
                place = below
            return os.open(parts[-1], _FILE, dir_fd=place)
        finally:
            os.close(place)


def _split(relative: str) -> list[str]:
    parts = relative.split(os.sep)
    for part in parts:
        if part in _PRIVATE:
            raise Outside(f"in {part}, which is private")
    return parts
