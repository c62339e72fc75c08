"""Reads a folder of Markdown files as a wiki."""

import codecs
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from mkdocs.utils import meta

from core.errors import AskdocsError
from wiki.pages.page import Page
from wiki.rights import NOBODY, Groups, both, groups_of, including, simplified
from wiki.sources import addresses, bounded, docusaurus, gitbook, mkdocs, obsidian, vitepress
from wiki.sources.commonmark import front_matter
from wiki.sources.detect import Project, detect
from wiki.sources.documents import reading as documents
from wiki.sources.flavour import Flavour, Generator
from wiki.sources.preview import Own, Preview
from wiki.sources.source import NO_TEXT, Broken, Changed, Item, LeftOut, Unchanged
from wiki.sources.trail import Trail
from wiki.sources.tree import HTML, Tree, decode

SETTINGS = "the settings of its generator"
# Bytes of a page that are searched for its own address.
_HEAD = 4096
_HTML = "HTML in a folder of Markdown: sync its folder with --kind html"
# Increment it when pages are read differently, so that all are read again.
_VERSION = 8


class Folder:
    """Implements `wiki.sources.source.Source` for a folder of Markdown."""

    def __init__(self, root: Path, site_url: str, kind: Generator | None = None) -> None:
        """
        Args:
            root: the folder of the wiki, or of the pages in it.
            site_url: address of the wiki's root; if empty, the one in the generator's settings.
            kind: the site's generator. None: detect it from the folder, see
                `wiki.sources.detect`; without a sign of another one, it is MkDocs.
        """
        self.root = Path(os.path.abspath(root))
        self.name = str(self.root)
        self._open: Callable[[], Flavour] = partial(_open, self.root, site_url, kind)

    @classmethod
    def of(cls, root: Path, opened: Callable[[], Flavour]) -> Self:
        """A folder with its own flavour."""
        folder = cls(root, "")
        folder._open = opened
        return folder

    @classmethod
    def preview(cls, root: Path, site_url: str) -> Self:
        """The folder as shown on the site of `askdocs up`, whatever generator it is for."""
        folder = cls(root, site_url)
        folder._open = partial(preview, folder.root, site_url)
        return folder

    def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
        """See `wiki.sources.source.Source.read`.

        Raises:
            AskdocsError: the folder is missing, is a file, or has no page that is published.
        """
        _require(self.root)
        flavour = self._open()
        within = _within(self.root, flavour.tree.root)
        paths = [path for path in flavour.urls if path.startswith(within)]
        files = [path for path in flavour.tree.files if path.startswith(within)]
        if not paths and not any(
            path.startswith(within) for path in documents.documents(flavour.tree)
        ):
            raise _none_at_all(self.root)
        yield from flavour.problems
        yield from flavour.tree.unlisted(known)
        yield from (link for link in flavour.tree.outside if link.path.startswith(within))
        for path in flavour.tree.markdown:
            if path.startswith(within) and path not in flavour.urls:
                yield LeftOut(path, "not published")
        for path in sorted(files):
            if path.lower().endswith(HTML):
                yield LeftOut(path, _HTML)
        for path in paths:
            yield from _read(flavour, path, known.get(path, ""))
        yield from documents.read(flavour.tree, files, partial(_address, flavour), known)


def _read(flavour: Flavour, path: str, stamp: str) -> Iterator[Item]:
    about = f"{_VERSION} {flavour.urls[path]} {flavour.titles.get(path)} {flavour.about}"
    by_mkdocs, data = isinstance(flavour, mkdocs.MkDocs), b""
    try:
        data = flavour.tree.data(path)
        with bounded.page(path):
            trail = Trail(path, about, data, flavour.tree.text, partial(flavour.resolve, path))
            page = None
            if not (stamp and trail.holds(stamp)):
                trail = Trail(path, about, data, flavour.tree.text, partial(flavour.resolve, path))
                page = flavour.page(path, decode(data), trail)
    except Exception as error:  # third-party parsers may fail on a page
        # If its author restricted the page, this applies to its earlier text, too, which stays
        # indexed.
        groups, _ = _groups(path, data.decode(errors="replace"), by_mkdocs)
        yield Broken(path, _why(error), groups)
        return
    if page is None:
        yield Unchanged(path)
        return
    if page.sections:
        page = replace(page, url=flavour.urls[path])
        groups, problem = _groups(path, decode(data), by_mkdocs)
        for name, text in trail.included.items():
            groups = both(groups, _groups(name, text, by_mkdocs)[0])
        groups = including(groups, trail.included)
        yield Changed(page, trail.stamp(), groups)
        if problem:
            yield Broken(f"{path}:1", problem)
    else:
        yield LeftOut(path, NO_TEXT)
    yield from trail.problems


def _groups(path: str, text: str, by_mkdocs: bool) -> tuple[Groups | None, str]:
    """`front_groups` within limits of its own: it also runs for pages that exceeded theirs."""
    try:
        with bounded.page(f"{path} (front matter)"):
            return front_groups(text, by_mkdocs)
    except ValueError as error:
        return NOBODY, f"the front matter {error}; until it is corrected, nobody may read the page"


def front_groups(text: str, by_mkdocs: bool = False) -> tuple[Groups | None, str]:
    """The readers of a page by the `groups` in its front matter, and the error in them.

    Unreadable front matter that mentions groups closes the page, as its author intended. MkDocs
    also accepts lines of `name: value` at the top as front matter, and does not show them.
    """
    _, front = front_matter(text)
    if by_mkdocs and not front and not text.startswith("---"):
        front = meta.get_data(text[:_TOP])[1]
    key = next((key for key in front if str(key).strip().lower() == "groups"), None)
    try:
        if key is not None:
            return simplified([groups_of(front[key])]), ""
        head = _FRONT.match(text)
        if not front and head and _GROUPS.search(head[0]):
            raise ValueError("the front matter names groups, and is not valid YAML or short TOML")
    except ValueError as error:
        return NOBODY, f"{error}; until it is corrected, nobody may read the page"
    return None, ""


# Maximum characters; for more lines than any page starts with, MkDocs's function takes minutes.
_TOP = 2**16
# Broader than any generator's front matter, so that no restriction is missed.
_FRONT = re.compile(r"\ufeff?\s*(---|\+\+\+).*?(?:\n(?:\1|\.\.\.)|\Z)", re.DOTALL)
_GROUPS = re.compile(r"^[ \t]*[\"']?groups[\"']?[ \t]*[:=]", re.MULTILINE | re.IGNORECASE)


def _address(flavour: Flavour, path: str) -> str | None:
    """The address of a document: Sphinx, which has a `conf.py`, makes a page of each `.rst`."""
    if path.endswith(".rst") and "conf.py" in flavour.tree.files:
        path = path.removesuffix(".rst") + ".html"
    return flavour.file(path)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _open(root: Path, site_url: str, kind: Generator | None) -> Flavour:
    with bounded.page(SETTINGS):
        project = detect(root, kind)
    if not project.bounds.holds(project.content):
        raise AskdocsError(
            f"{project.settings} sets the folder of its pages to "
            f"{os.path.abspath(project.content)},"
            f" outside of {project.bounds.folder}: name a folder that holds both"
        )
    flavour = made(project, site_url)
    taken = {addresses.normal(url, query=True) for url in flavour.urls.values()}
    for path in flavour.urls:
        own = _own_address(flavour.tree, path)
        # Rights and links go by address: no page takes that of another one.
        if own and (spelled := addresses.normal(own, query=True)) not in taken:
            taken.add(spelled)
            flavour.urls[path] = own
    return flavour


def _own_address(tree: Tree, path: str) -> str:
    """The address in a page's front matter; empty if there is none."""
    head = tree.beginning(path, _HEAD)
    if not head.removeprefix(codecs.BOM_UTF8).startswith(b"---") or b"url" not in head:
        return ""
    try:
        with bounded.page(path):
            _, front = front_matter(decode(tree.data(path)))
    except (OSError, ValueError):
        return ""  # `_read` reports the problem
    url = front.get("url")
    try:
        is_address = isinstance(url, str) and urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return ""
    return url.strip() if isinstance(url, str) and is_address and urlsplit(url).netloc else ""


def made(project: Project, site_url: str) -> Flavour:
    """Opens a project with its generator's flavour."""
    return _OTHERS.get(project.kind, mkdocs.opened)(project, site_url)


def _within(root: Path, content: Path) -> str:
    """The common prefix of page paths, in a folder that is part of a project's pages."""
    if root != content and root.is_relative_to(content):
        return root.relative_to(content).as_posix() + "/"
    return ""


def preview(root: Path, site_url: str) -> Preview:
    """The folder as shown on the site of `askdocs up`."""
    with bounded.page(SETTINGS):
        project = detect(root)
    is_plain = project.kind == "mkdocs" or project.content != root
    own = None if is_plain else _OTHERS[project.kind](project, site_url)
    return Preview(root, site_url, own)


_OTHERS: Mapping[str, Callable[[Project, str], Own]] = {
    "docusaurus": docusaurus.opened,
    "gitbook": gitbook.opened,
    "vitepress": vitepress.opened,
    "obsidian": obsidian.opened,
}


@dataclass
class FolderReading:
    """The result of reading a folder: the pages, and a line per unreadable file."""

    pages: list[Page] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(folder: Path, site_url: str) -> FolderReading:
    """Reads every page as shown on the site of `askdocs up`; continues after unreadable files.

    Raises:
        AskdocsError: as `Folder.read`, or no file could be read.
    """
    reading = FolderReading()
    for item in Folder.preview(folder, site_url).read({}):
        match item:
            case Changed(page):
                reading.pages.append(page)
            case Broken(path, why):
                reading.problems.append(f"{folder / path}: not read: {why}")
    if not reading.pages:
        why = reading.problems[0] if reading.problems else "every page is empty"
        raise AskdocsError(f"{folder} has no page with text: {why}")
    return reading


def files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The Markdown files and the documents under `folder`, except in hidden folders.

    Raises:
        AskdocsError: the folder is missing, is a file, or has neither.
    """
    _require(folder)
    tree = Tree(folder)
    lists = (
        [folder / path for path in tree.markdown],
        [folder / path for path in documents.documents(tree)],
    )
    if not any(lists):
        raise _none_at_all(folder)
    return lists


def _require(folder: Path) -> None:
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "does not exist"
        raise AskdocsError(f"{folder} {kind}: name the folder of your wiki")


def _none_at_all(folder: Path) -> AskdocsError:
    other = documents.unsupported(Tree(folder))
    return AskdocsError(
        f"{folder} has no Markdown page (*.md, *.markdown), no HTML page and no document (PDF,"
        f" DOCX, PPTX, XLSX, EPUB, TXT): {f'{other}, or ' if other else ''}name the folder that"
        " holds your wiki's pages"
    )
