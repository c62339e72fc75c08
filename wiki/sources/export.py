"""Reads a folder of HTML: a Confluence export, a MediaWiki dump, or any static site."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from core.errors import AskdocsError
from wiki.sources import bounded, html
from wiki.sources.document import SPECIAL, Head, head_of
from wiki.sources.documents import reading as documents
from wiki.sources.source import (
    COPY,
    NO_TEXT,
    Broken,
    Changed,
    Item,
    LeftOut,
    Unchanged,
)
from wiki.sources.titles import Affixes
from wiki.sources.tree import HTML, Tree, file_url
from wiki.sources.tree import SUFFIXES as MARKDOWN

# Markup is several times as long as its text, so a page may be larger here than in Markdown.
LARGEST = 16 * 2**20
# Increment it when pages are read differently, so that all are read again.
_VERSION = 8
# File names, without suffix, of pages for searching, errors or printing.
_NOT_PAGES = frozenset(
    ("404", "search", "genindex", "modindex", "py-modindex", "print", "print_page", "printview")
)
# Theme folders; in one of them, Sphinx lists source code.
_NOT_FOLDERS = frozenset(("_static", "_modules", "_sources", "_images", "_next", "assets/images"))
_SPECIAL = re.compile(r"(^|/|[=~])special(:|%3a|_3a|~)", re.IGNORECASE)
# Confluence names a page's file after its title and its number.
_CONFLUENCE = re.compile(r"(?:^|_)(\d{4,})\.html$")
_PAGE_ID = "pageId="
_MARKDOWN = "Markdown in a folder of HTML: sync a folder of Markdown alone"


class HtmlFolder:
    """Implements `wiki.sources.source.Source` for a folder of HTML."""

    def __init__(self, root: Path, site_url: str) -> None:
        """
        Args:
            root: the folder of the site.
            site_url: the address at which the folder is served. For a Confluence export it may be
                the wiki's address of a page by its number, up to `pageId=`.
        """
        self.root = root.absolute()
        self.name = str(self.root)
        self.site_url = site_url

    def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
        """See `wiki.sources.source.Source.read`.

        Raises:
            AskdocsError: the folder is missing, is a file, or has no page.
        """
        if not self.root.is_dir():
            kind = "is a file" if self.root.exists() else "does not exist"
            raise AskdocsError(f"{self.root} {kind}: name the folder that holds your wiki's pages")
        export = _Export(self.root, self.site_url)
        if not export.files and not export.broken:
            raise AskdocsError(
                f"{self.root} has no HTML page ({', '.join('*' + s for s in HTML)}) besides stubs "
                "and search pages: name the folder that holds your wiki's pages"
            )
        yield from export.broken
        yield from export.tree.unlisted(known)
        yield from export.tree.outside
        yield from export.left_out
        for path, file in export.files.items():
            stamp = export.stamp(file)
            if known.get(path) == stamp:
                yield Unchanged(path)
                continue
            try:
                with bounded.page(path):
                    page = html.page(
                        export.tree.data(path, LARGEST),
                        path,
                        export.urls[path],
                        served=file.served,
                        affixes=export.affixes,
                        resolve=export.resolve,
                    )
            except (OSError, ValueError) as error:
                yield Broken(path, _why(error))
                continue
            yield Changed(page, stamp) if page.has_text else LeftOut(path, NO_TEXT)
        # Sphinx stores the sources of its pages in a folder next to them.
        files = [path for path in export.tree.files if not _no_page(path)]
        yield from (LeftOut(path, _MARKDOWN) for path in files if path.lower().endswith(MARKDOWN))
        yield from documents.read(export.tree, files, export.served, known)


@dataclass(frozen=True)
class _File:
    path: str
    digest: str
    """The digest of the content."""
    served: str
    """The file's address on the folder's server."""
    head: Head


class _Export:
    """The current state of the folder: the files that are pages, with their addresses."""

    def __init__(self, root: Path, site_url: str) -> None:
        self.site_url = site_url
        self.tree = Tree(root)
        self.broken: list[Broken] = []
        self.left_out: list[LeftOut] = []
        files: dict[str, _File] = {}
        for path in sorted(self.tree.files, key=lambda path: path.split("/")):
            if not path.lower().endswith(HTML):
                continue
            if why := _no_page(path):
                self.left_out.append(LeftOut(path, why))
                continue
            try:
                with bounded.page(path):
                    data = self.tree.data(path, LARGEST)
                    served = self.served(path)
                    head = head_of(data, served)
            except (OSError, ValueError) as error:
                self.broken.append(Broken(path, _why(error)))
                continue
            if head.no_page:
                self.left_out.append(LeftOut(path, head.no_page))
            else:
                files[path] = _File(path, hashlib.sha256(data).hexdigest(), served, head)
        numbered = sum(1 for path in files if _CONFLUENCE.search(path))
        self._is_confluence = numbered * 2 > len(files)
        if self._is_confluence and "index.html" in files:
            del files["index.html"]
            self.left_out.append(LeftOut("index.html", "list of Confluence's pages"))
        self.files = files
        self.urls = {path: self._url(file) for path, file in files.items()}
        for copy in self._copies():
            del self.files[copy], self.urls[copy]
            self.left_out.append(LeftOut(copy, COPY))

    @cached_property
    def affixes(self) -> Affixes:
        """The affixes that the titles share."""
        return Affixes.common(file.head.title for file in self.files.values())

    def stamp(self, file: _File) -> str:
        """A stamp that changes if the page in a file would be read differently."""
        about = f"{_VERSION} {self.site_url} {self.urls[file.path]} {self.affixes} {file.digest}"
        return hashlib.sha256(about.encode()).hexdigest()

    def resolve(self, address: str) -> str:
        """The address that readers should open for a link in the folder."""
        path, anchor = urldefrag(address)
        there = self._by_address.get(_key(path))
        if there is None:
            return address
        return f"{there}#{anchor}" if anchor else there

    @cached_property
    def _by_address(self) -> dict[str, str]:
        by_address: dict[str, str] = {}
        for path, file in self.files.items():
            by_address[_key(file.served)] = self.urls[path]
            # A static server serves the file of a folder at both addresses.
            by_address[_key(file_url(path, self._root_url))] = self.urls[path]
        return by_address

    @property
    def _root_url(self) -> str:
        """The address at which the folder is served."""
        if self.site_url.endswith(_PAGE_ID):
            return self.site_url.partition("?")[0].rpartition("/")[0]
        return self.site_url

    def served(self, path: str) -> str:
        """The file's address on the folder's server."""
        folder, _, name = path.rpartition("/")
        if name.lower() in ("index.html", "index.htm"):
            return file_url(f"{folder}/" if folder else "", self._root_url)
        return file_url(path, self._root_url)

    def _url(self, file: _File) -> str:
        number = _CONFLUENCE.search(file.path)
        if number and self._is_confluence and self.site_url.endswith(_PAGE_ID):
            return self.site_url + number[1]
        canonical = file.head.canonical
        if canonical and urlsplit(canonical).netloc == urlsplit(self.site_url).netloc:
            return canonical
        return file.served

    def _copies(self) -> list[str]:
        """Files that duplicate the page of another file.

        Of files with the same canonical address, the one served at that address is the page. If no
        file is, or their titles differ, the address is a mistake, and ignored.
        """
        copies = []
        claims = Counter(self.urls.values())
        for url in [url for url, count in claims.items() if count > 1]:
            same = [path for path in self.urls if self.urls[path] == url]
            same.sort(key=lambda path: _key(self.files[path].served) != _key(url))
            first = self.files[same[0]]
            is_there = _key(first.served) == _key(url)
            others = [
                path
                for path in same[1:]
                if not is_there or self.files[path].head.title != first.head.title
            ]
            copies += [path for path in same[1:] if path not in others]
            for path in [same[0], *others] if others else []:
                self.urls[path] = self.files[path].served
        return copies


def _no_page(path: str) -> str:
    """The reason why a file is not a page, by its path; empty if it may be one."""
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0].lower()
    if stem == "index":
        stem = folder.rpartition("/")[2].lower()
    folders = folder.split("/")
    for part in folders:
        if part in _NOT_FOLDERS:
            return f"in {part}"
    if stem in _NOT_PAGES:
        return "page to search, to print or of an error"
    return SPECIAL if _SPECIAL.search(path) else ""


def _key(address: str) -> str:
    """Normalises the spellings of an address."""
    split = urlsplit(address)
    return f"{split.netloc.lower()}{unquote(split.path)}?{split.query}"


def _why(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
