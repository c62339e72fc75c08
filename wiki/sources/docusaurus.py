"""Reads a folder of Markdown and MDX as Docusaurus' docs plugin does.

Compared with Docusaurus 3.10.2: tests/sources/compare_docusaurus.py.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from wiki.pages.page import Page
from wiki.sources import addresses, bounded, mdx, sections
from wiki.sources.commonmark import front_matter
from wiki.sources.detect import Project
from wiki.sources.docusaurus_config import DocusaurusConfig, load
from wiki.sources.source import Broken
from wiki.sources.trail import Trail
from wiki.sources.tree import Tree

_DATED = re.compile(r"\d+[-_.]\d+")
_NUMBERED = re.compile(r"\d+\s*[-_.]+\s*([^-_.\s].*)$")


class Document(NamedTuple):
    """The page's properties from a file's name and front matter."""

    url: str
    title: str
    listed: bool


class Docusaurus:
    """Implements `wiki.sources.flavour.Flavour`."""

    def __init__(self, tree: Tree, config: DocusaurusConfig, site_url: str, static: Path) -> None:
        self.tree = tree
        self._static = static
        self.about = repr(config)
        self.titles: dict[str, str] = {}
        self._config = config
        self._site_url, self._route = _places(config, site_url)
        self.problems: list[Broken] = []
        self._documents = dict(self._read_documents())
        self.urls = {path: doc.url for path, doc in self._documents.items() if doc.listed}
        self._by_path = {
            urlsplit(url).path.rstrip("/"): url for url, _, _ in self._documents.values()
        }

    def _read_documents(self) -> Iterator[tuple[str, Document]]:
        for path in self.tree.markdown:
            if not path.endswith((".md", ".mdx")) or not is_page(path):
                continue
            try:
                with bounded.page(path):
                    _, front = front_matter(self.tree.text(path))
            except (OSError, ValueError):
                front = {}  # `Folder` reports the problem
            if front.get("draft") is True:
                continue
            title = front.get("title")
            yield (
                path,
                Document(
                    self._url(path, front),
                    str(title) if isinstance(title, str | int | float) else "",
                    front.get("unlisted") is not True,
                ),
            )

    def _url(self, path: str, front: dict[str, Any]) -> str:
        address = slug(path, front, self._config.number_prefixes)
        url = addresses.join(self._site_url, posixpath.join(self._route, address.lstrip("/")))
        if self._config.trailing_slash is None or url.rstrip("/") == self._site_url.rstrip("/"):
            return url
        return url.rstrip("/") + ("/" if self._config.trailing_slash else "")

    def file(self, path: str) -> str | None:
        return None  # published files are in `static`, next to the pages

    def resolve(self, path: str, target: str) -> str:
        if addresses.is_elsewhere(target):
            return target
        named, rest = addresses.split(target)
        here = self._documents[path].url
        url = self._file(path, named)
        if url is None and named.startswith("/"):
            # An address below the site's root, which may have a path itself.
            there = addresses.join(self._site_url, named)
            url = self._by_path.get(urlsplit(there).path.rstrip("/"))
            file = posixpath.normpath(named.lstrip("/"))
            if url is None and not file.startswith("..") and self._is_static(file):
                url = there
        return target if url is None else addresses.relative(here, url + rest)

    def _is_static(self, name: str) -> bool:
        return self.tree.bounds.is_file(self._static / name)

    def _file(self, path: str, named: str) -> str | None:
        """The address of the page that a link to a file refers to."""
        if named.startswith("@site/"):
            named = "/" + named.removeprefix("@site/")
        beside = addresses.beside(path, named)
        below_site = beside.removeprefix(f"{self._config.path}/") if named.startswith("/") else ""
        for there in (beside, below_site):
            if there in self._documents:
                return self._documents[there].url
        return None

    def plain(self, path: str, text: str, trail: Trail) -> list[str]:
        return mdx.read(path, text, trail, self._config.path)[0]

    def page(self, path: str, text: str, trail: Trail) -> Page:
        lines, headings = mdx.read(path, text, trail, self._config.path)
        # A first-level heading has no anchor: it is the top of the page.
        headings = [
            replace(heading, anchor="") if heading.level == 1 else heading for heading in headings
        ]
        document = self._documents[path]
        return Page(
            path=path,
            title=sections.title(document.title, lines, headings)
            or sections.name(_unnumbered_path(path)),
            url=document.url,
            sections=sections.cut(lines, headings),
        )


def opened(project: Project, site_url: str) -> Docusaurus:
    """Opens the docs of a docusaurus.config.js, or of a folder without one."""
    config = load(project.settings, project.bounds) if project.settings else DocusaurusConfig()
    site = project.settings.parent if project.settings else project.content.parent
    if project.settings and project.content.resolve() != (site / config.path).resolve():
        # A second set of pages, which the readable part of the configuration does not name.
        within = project.content.relative_to(site).as_posix()
        config = replace(config, path=within, route=within)
    return Docusaurus(Tree(project.content, project.bounds), config, site_url, site / "static")


def _places(config: DocusaurusConfig, site_url: str) -> tuple[str, str]:
    """The address of the site's root, and the path from there to the pages.

    `https://x.example/docs` may be the root or the pages: it is the root only if the configuration
    says so.
    """
    if not site_url:
        return config.url.rstrip("/") + "/" + config.base_url.strip("/"), config.route
    path = urlsplit(site_url).path.strip("/")
    is_pages = path == config.route or path.endswith("/" + config.route)
    if config.route and is_pages and path != config.base_url.strip("/"):
        return site_url.rstrip("/").removesuffix(config.route), config.route
    return site_url, config.route


def is_page(path: str) -> bool:
    """Does the file become a page? Partials, which start with `_`, and tests do not."""
    parts = path.split("/")
    return not any(part.startswith("_") for part in parts) and "__tests__" not in parts


def slug(path: str, front: dict[str, Any], number_prefixes: bool = True) -> str:
    """The address of a page relative to all pages, such as `/guide/setup`; folders end with `/`."""
    parts = posixpath.splitext(path)[0].split("/")
    folders, name = parts[:-1], parts[-1]
    own = front.get("slug")
    if isinstance(own, str) and own.startswith("/"):
        return own
    plain = [unnumbered(part) for part in folders] if number_prefixes else folders
    folder = "/" + "".join(part + "/" for part in plain)
    if not isinstance(own, str):
        beside = folders[-1].lower() if folders else ""
        if name.lower() in ("index", "readme") or name.lower() == beside:
            return folder
    identity = front.get("id")
    base = str(identity) if isinstance(identity, str | int) else ""
    base = base or (unnumbered(name) if number_prefixes else name)
    end = own if isinstance(own, str) else base
    there = posixpath.normpath(posixpath.join(folder, end))
    return there + "/" if end.endswith("/") and there != "/" else there


def unnumbered(name: str) -> str:
    """Removes a number prefix: `01-intro` becomes `intro`; keeps dates and versions."""
    if _DATED.match(name):
        return name
    numbered = _NUMBERED.match(name)
    return numbered[1] if numbered else name


def _unnumbered_path(path: str) -> str:
    return "/".join(unnumbered(part) for part in path.split("/"))
