"""Markdown flavours: how each site generator interprets a folder."""

from typing import Literal, Protocol

from wiki.pages.page import Page
from wiki.sources.source import Broken
from wiki.sources.trail import Trail
from wiki.sources.tree import Tree

Generator = Literal["mkdocs", "docusaurus", "gitbook", "vitepress", "obsidian"]


class Flavour(Protocol):
    """One folder, as a generator interprets it."""

    tree: Tree
    """The folder's files; also used to read included files."""
    urls: dict[str, str]
    """The address of each published page, by the path of its file."""
    titles: dict[str, str]
    """The titles of pages in the generator's table of contents, by the path of the file."""
    problems: list[Broken]
    """Missing files that the generator's own files refer to."""
    about: str
    """The settings that affect pages."""

    def file(self, path: str) -> str | None:
        """The address of a file that is not a page; None if it is not published."""
        ...

    def resolve(self, path: str, target: str) -> str:
        """The target of a link in the file `path`, relative to that page's address.

        A link to a missing file is returned unchanged.
        """
        ...

    def page(self, path: str, text: str, trail: Trail) -> Page:
        """The page in the file `path`. Files that it includes are read through `trail`.

        Raises:
            ValueError: it cannot be read as a page.
        """
        ...
