"""Markdown flavours: how each site generator interprets a folder."""

from typing import Literal, Protocol

from gateway.knowledge.sources.source import Broken
from gateway.knowledge.sources.trail import Trail
from gateway.knowledge.sources.tree import Tree
from gateway.knowledge.wiki.page import Page

Generator = Literal["mkdocs", "docusaurus", "gitbook", "vitepress", "obsidian"]


class Flavour(Protocol):
    """One folder, as one generator reads it."""

    tree: Tree
    """Its files. What pages include is read from here too."""
    urls: dict[str, str]
    """The address of each page that the generator publishes, by the path of its file."""
    titles: dict[str, str]
    """What the generator's table of contents calls pages, by the path of the file."""
    problems: list[Broken]
    """What the generator's own files name and the folder does not have."""
    about: str
    """The settings that pages depend on."""

    def file(self, path: str) -> str | None:
        """The address of a file that is no page, as it is; None where it is not published."""
        ...

    def resolve(self, path: str, target: str) -> str:
        """Where the link `target` leads, written in the file `path`, relative to its address.

        A link to what is not there stays as it is.
        """
        ...

    def page(self, path: str, text: str, trail: Trail) -> Page:
        """The page in the file `path`. What it is made of goes through `trail`.

        Raises:
            ValueError: it cannot be read as a page.
        """
        ...
