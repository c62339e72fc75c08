"""Dependencies of a page, such as snippets, so that a change to one is noticed."""

import json
import posixpath
from collections.abc import Callable
from hashlib import blake2b

from wiki.sources import addresses
from wiki.sources.source import Broken
from wiki.sources.tree import decode
from wiki.sources.within import Outside

# Maximum characters of all text that a page includes, counted each time.
MOST = 16 * 2**20
Read = Callable[[str], str]
Resolve = Callable[[str], str]


class Trail:
    """The files that a page includes and its link targets, at the time when it was read.

    The page's stamp is a hash of these and their names: so changes are detected without parsing the
    page, even if only a linked page has moved.
    """

    def __init__(self, path: str, about: str, data: bytes, read: Read, resolve: Resolve) -> None:
        """
        Args:
            path: the path of the page's file.
            about: other dependencies of the page: its address, and the settings of the site.
            data: the bytes of the page's file.
            read: returns the text of another file; raises OSError or ValueError.
            resolve: returns the target of a link on the page.
        """
        self._path = path
        self._about = about
        self._data = data
        self._read = read
        self._resolve = resolve
        self._files: dict[str, str | None] = {}
        self._outside: dict[str, str] = {}
        self._included = 0
        self._links: dict[str, str] = {}
        self.problems: list[Broken] = []
        """Missing parts of the page: reported, but the page is read anyway."""

    def file(self, name: str) -> str | None:
        """The text of an included file; None if it cannot be read.

        Raises ValueError: the page includes too much, as with files that include each other twice.
        """
        if name not in self._files:
            try:
                self._files[name] = self._read(name)
            except Outside as error:
                self._files[name] = None
                self._outside[name] = str(error)
            except (OSError, ValueError):
                self._files[name] = None
        text = self._files[name]
        self._included += 1 + len(text or "")
        if self._included > MOST:
            raise ValueError(f"includes more than {MOST // 2**20} MiB")
        return text

    @property
    def included(self) -> dict[str, str]:
        """The text of each other file that the page includes, by its path."""
        own = posixpath.normpath(self._path)
        files = {posixpath.normpath(name): text for name, text in self._files.items()}
        return {name: text for name, text in files.items() if text is not None and name != own}

    def link(self, target: str) -> str:
        """The target of a link, relative to the page's address."""
        if addresses.is_elsewhere(target):
            return target
        if target not in self._links:
            self._links[target] = self._resolve(target)
        return self._links[target]

    def missing(self, file: str, written: str, what: str, name: str = "") -> None:
        """Record that `what` is missing, at the line of `file` that contains `written`.

        `file` is the page's own or an included one, `name` the requested one.
        """
        text = decode(self._data) if file == self._path else self.file(file) or ""
        lines = text.split("\n")
        line = next((n for n, line in enumerate(lines, 1) if written in line), None)
        place = f"{file}:{line}" if line else file
        why = self._outside.get(name, "not there")
        self.problems.append(Broken(place, f"{what} is {why}, and is left out"))

    def link_in(self, file: str, target: str) -> str:
        """The target of a link in `file`, which is the page's own or an included one."""
        page = self._path
        if file == page or addresses.is_elsewhere(target) or target[0] in "/@":
            return self.link(target)
        moved = posixpath.relpath(
            posixpath.join(posixpath.dirname(file), target), posixpath.dirname(page) or "."
        )
        resolved = self.link(moved)
        return target if resolved == moved else resolved

    def stamp(self) -> str:
        """The stamp of the page."""
        hashed = blake2b(self._data, digest_size=16)
        made_of = repr((self._about, list(self._files.items()), list(self._links.items())))
        hashed.update(made_of.encode(errors="surrogatepass"))
        if not self._files and not self._links:
            return hashed.hexdigest()
        return hashed.hexdigest() + json.dumps([list(self._files), list(self._links)])

    def holds(self, stamp: str) -> bool:
        """Is the page unchanged since it got `stamp`? Requires an unused trail."""
        try:
            files, links = json.loads(stamp[32:] or "[[], []]")
        except ValueError:
            return False
        for name in files:
            self.file(name)
        for target in links:
            self.link(target)
        return self.stamp() == stamp
