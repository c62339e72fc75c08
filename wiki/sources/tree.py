"""Lists the files of a wiki's folder."""

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from wiki.sources.source import Broken, LeftOut
from wiki.sources.within import Bounds

SUFFIXES = (".md", ".markdown", ".mdown", ".mkdn", ".mkd", ".mdx")
HTML = (".html", ".htm", ".xhtml")
# Pages are documents for people; larger files are logs or dumps, and would stall every build.
LARGEST = 4 * 2**20
_NOT_PAGES = ("node_modules", "__pycache__", "bower_components")


class Tree:
    """The current state of a folder: its files and their text.

    Leaves out hidden files and folders, and those of package managers. A folder with several paths,
    or with a link to a parent, is read once. Links that lead out of the bounds are left out.
    """

    def __init__(self, root: Path, bounds: Bounds | None = None) -> None:
        """
        Args:
            root: the folder.
            bounds: the area of files that pages may include; None: the folder.
        """
        self.outside: list[LeftOut] = []
        """Links that lead out of the bounds; known after `files`."""
        self.bounds = bounds or Bounds(root)
        self.unreadable: dict[str, str] = {}
        """Folders whose files could not be listed, with the reason; known after `files`."""
        self.root = Path(os.path.abspath(root))

    @cached_property
    def files(self) -> frozenset[str]:
        """The path of every file, relative to the folder, with forward slashes."""
        paths: list[str] = []
        cut = len(str(self.root).rstrip("/")) + 1
        seen: set[tuple[int, int]] = set()
        links: list[str] = [str(self.root)]
        while links:  # links to folders last, so that a folder keeps its own name
            pending = [links.pop(0)]
            while pending:
                folder = pending.pop()
                try:
                    status = os.stat(folder)
                    if (status.st_dev, status.st_ino) in seen:
                        continue
                    seen.add((status.st_dev, status.st_ino))
                    entries = list(os.scandir(folder))
                except OSError as error:
                    self.unreadable[folder[cut:]] = error.strerror or str(error)
                    continue
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.startswith(".") or not _is_text(entry.name):
                        continue
                    if entry.is_symlink() and not self.bounds.holds(entry.path):
                        if os.path.exists(entry.path):
                            outside = f"link to a target outside {self.bounds.folder}"
                            self.outside.append(LeftOut(entry.path[cut:], outside))
                        continue
                    if _is_folder(entry):
                        if entry.name not in _NOT_PAGES:
                            (links if entry.is_symlink() else pending).append(entry.path)
                    elif _is_file(entry):
                        paths.append(entry.path)
        return frozenset(path[cut:].replace(os.sep, "/") for path in paths)

    @cached_property
    def markdown(self) -> list[str]:
        """The Markdown files, sorted by path."""
        return sorted(
            (path for path in self.files if path.lower().endswith(SUFFIXES)),
            key=lambda path: path.split("/"),
        )

    def unlisted(self, known: Iterable[str]) -> Iterator[Broken]:
        """The folders of `unreadable`, with their known pages: these are not deleted.

        Args:
            known: the paths of the pages in the index.
        """
        for folder, why in self.unreadable.items():
            yield Broken(folder, why)
            within = f"{folder}/" if folder else ""
            yield from (Broken(path, why) for path in known if path.startswith(within))

    def data(self, path: str, largest: int = LARGEST) -> bytes:
        """The bytes of a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is larger than `largest` bytes, or outside the bounds.
        """
        return self.bounds.read(self.root / path, largest)

    def beginning(self, path: str, most: int) -> bytes:
        """The first bytes of a file; empty if it cannot be read."""
        try:
            return self.bounds.read(self.root / path, most, whole=False)
        except (OSError, ValueError):
            return b""

    def text(self, path: str) -> str:
        """The text of a file: see `decode`. Raises as `data`, and ValueError if it is not UTF-8."""
        return decode(self.data(path))


def decode(data: bytes) -> str:
    """UTF-8 text without byte order mark, with `\\n` as line ends and NUL replaced.

    Raises:
        ValueError: it is not UTF-8; the message states where.
    """
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"not UTF-8: line {line} has the byte {wrong:#04x}; save the file as UTF-8"
        ) from None
    # Same as CommonMark; a NUL would end the grammar of a quotation.
    return text.replace("\0", "\ufffd")


def file_url(path: str, site_url: str) -> str:
    """The address of a file that the site serves unchanged."""
    return site_url.rstrip("/") + "/" + quote(path)


def _is_text(name: str) -> bool:
    """Can the name be encoded? Names that are not UTF-8 are in no link and no address."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
