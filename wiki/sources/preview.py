"""Reads a folder as shown on the site that `askdocs up` builds with MkDocs.

Pages for another generator are converted to plain Markdown with that generator's rules; addresses
and anchors are MkDocs' own.
"""

from functools import partial
from pathlib import Path
from urllib.parse import unquote_plus, urldefrag, urljoin, urlsplit

from markdown.extensions.toc import slugify

from wiki.pages.page import Page
from wiki.sources import addresses, boxes, mkdocs_config
from wiki.sources.commonmark import front_matter
from wiki.sources.docusaurus import Docusaurus
from wiki.sources.gitbook import GitBook
from wiki.sources.mkdocs import MkDocs, page_url
from wiki.sources.obsidian import Obsidian
from wiki.sources.trail import Trail
from wiki.sources.tree import Tree
from wiki.sources.vitepress import VitePress

Own = Docusaurus | GitBook | Obsidian | VitePress


class Preview(MkDocs):
    """Implements `wiki.sources.flavour.Flavour`."""

    def __init__(self, root: Path, site_url: str, own: Own | None) -> None:
        """
        Args:
            root: the folder of all pages.
            site_url: the address of the preview.
            own: the folder with its own generator's flavour; None if that is MkDocs.
        """
        super().__init__(own.tree if own else Tree(root), mkdocs_config.default(root), site_url)
        self._own = own
        self.paths = {path: path for path in self.urls}
        """The path of each page, by its file name in MkDocs."""
        if own is None:
            return
        self.about += f" {type(own).__name__} {own.about}"
        self.titles = own.titles
        self.problems = own.problems
        paths = {shown(path): path for path in sorted(own.urls, reverse=True)}
        self.paths = {name: paths[name] for name in self._published(paths)}
        self.urls = {path: page_url(name, site_url) for name, path in self.paths.items()}
        self._by_address = {own.urls[path].rstrip("/"): url for path, url in self.urls.items()}

    def resolve(self, path: str, target: str) -> str:
        if self._own is None or addresses.is_elsewhere(target):
            return super().resolve(path, target)
        there = urljoin(self._own.urls[path], self._own.resolve(path, target))
        address, anchor = urldefrag(there)
        url = self._by_address.get(address.rstrip("/"))
        if url is None:
            return super().resolve(path, target)
        if isinstance(self._own, Obsidian):
            anchor = slugify(unquote_plus(anchor.rpartition("#")[2]), "-")
        return addresses.relative(self.urls[path], f"{url}#{anchor}" if anchor else url)

    def page(self, path: str, text: str, trail: Trail) -> Page:
        if self._own:
            front = text.removesuffix("\n".join(front_matter(text)[0]))
            text = front + "\n".join(self._own.plain(path, text, trail))
        return super().page(path, text, trail)

    def markdown(self, path: str, body: str) -> str:
        """The Markdown that MkDocs renders for a page with the text `body`. Raises as
        `Tree.text`."""
        if self._own is None:
            return "\n".join(boxes.named(body.split("\n")))
        trail = Trail(path, "", b"", self.tree.text, partial(self._below_root, path))
        return "\n".join(self._own.plain(path, self.tree.text(path), trail))

    def _below_root(self, path: str, target: str) -> str:
        """A link that MkDocs leaves unchanged: it would interpret a relative one as a file name."""
        there = self.resolve(path, target)
        if there == target:
            return target
        parts = urlsplit(urljoin(self.urls[path], there))
        return parts.path + (f"#{parts.fragment}" if parts.fragment else "")


def shown(path: str) -> str:
    """The file name that MkDocs accepts: it does not know `.mdx`."""
    return path.removesuffix("x") if path.endswith(".mdx") else path
