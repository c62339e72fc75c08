"""Reads a folder of Markdown as MkDocs does, with Material or another theme.

Addresses and anchors match MkDocs by construction: they come from MkDocs' and Python-Markdown's own
functions, with the settings of mkdocs.yml.
"""

import logging
import posixpath
from collections.abc import Iterable
from urllib.parse import urljoin

from mkdocs.structure.files import File, _default_exclude
from mkdocs.utils import is_markdown_file, meta
from pathspec.gitignore import GitIgnoreSpec

from core.errors import AskdocsError
from wiki.pages.page import Page
from wiki.pages.targets import referenced, retarget
from wiki.sources import addresses, boxes, mkdocs_config, sections
from wiki.sources.detect import Project
from wiki.sources.mkdocs_config import MkDocsConfig
from wiki.sources.rendered import Renderer
from wiki.sources.snippets import Snippets
from wiki.sources.source import Broken
from wiki.sources.trail import Trail
from wiki.sources.tree import Tree, file_url

log = logging.getLogger("askdocs.sources")


class MkDocs:
    """Implements `wiki.sources.flavour.Flavour`."""

    def __init__(self, tree: Tree, config: MkDocsConfig, site_url: str) -> None:
        self.tree = tree
        self._config = config
        self._site_url = site_url
        self._excluded = _default_exclude + GitIgnoreSpec.from_lines(config.exclude)
        self.problems: list[Broken] = []
        for problem in config.problems:
            # Pages are read anyway, so a sync need not fail.
            log.warning("%s: %s", config.file, problem)
        self.about = config.about
        self.titles = dict(config.titles)
        self.urls = {
            path: page_url(path, site_url, config.use_directory_urls)
            for path in self._published(tree.markdown)
        }
        self._renderer = Renderer(config.extensions, config.options)
        self._snippets = Snippets(config.snippets, tree.root) if config.snippets else None

    def _published(self, paths: Iterable[str]) -> list[str]:
        # MkDocs skips a README next to an index: both would have the same address.
        published = [path for path in paths if not self._excluded.match_file(path)]
        fronts = {
            posixpath.dirname(path) for path in published if posixpath.basename(path) == "index.md"
        }
        return [
            path
            for path in published
            if not path.endswith(".mdx")
            and not (posixpath.basename(path) == "README.md" and posixpath.dirname(path) in fronts)
        ]

    def file(self, path: str) -> str | None:
        return None if self._excluded.match_file(path) else file_url(path, self._site_url)

    def resolve(self, path: str, target: str) -> str:
        if addresses.is_elsewhere(target):
            return target
        named, rest = addresses.split(target)
        there = addresses.beside(path, named)
        if named.startswith("/") and there not in self.tree.files:
            there = addresses.below(there, self.tree.root)
        url = self.urls.get(there)
        if url is None and there in self.tree.files and not self._excluded.match_file(there):
            url = file_url(there, self._site_url)
        if url is None:
            return target
        return addresses.relative(self.urls[path], url + rest)

    def page(self, path: str, text: str, trail: Trail) -> Page:
        listed = self.titles.get(path, "")
        return read(path, text, self.urls[path], self._renderer, trail, self._snippets, listed)


def opened(project: Project, site_url: str) -> MkDocs:
    """Opens the wiki of a mkdocs.yml, or of a folder without one."""
    tree = Tree(project.content, project.bounds)
    if project.settings is None:
        return MkDocs(tree, mkdocs_config.default(project.content), site_url)
    try:
        config = mkdocs_config.load(project.settings, project.bounds)
        return MkDocs(tree, config, site_url or config.site_url)
    except (OSError, ValueError, TypeError, KeyError) as error:
        # The last two are Python-Markdown's errors for options that an extension does not have.
        why = " ".join(str(error).strip("'\"").split())
        raise AskdocsError(f"{project.settings}: {why}: correct it, or choose a --kind") from None


def read(
    path: str,
    text: str,
    url: str,
    renderer: Renderer,
    trail: Trail,
    snippets: Snippets | None = None,
    listed: str = "",
) -> Page:
    """Read one page at `url`. A page without its own title gets the `listed` one."""
    body, front = meta.get_data(text)
    lines = body.split("\n")
    if snippets:
        lines = snippets.expand(lines, path, trail)
    headings = renderer.headings(lines)
    lines = boxes.named(lines)
    return Page(
        path=path,
        title=sections.title(front.get("title"), lines, headings) or listed or sections.name(path),
        url=url,
        sections=sections.cut(
            retarget(referenced("\n".join(lines)), trail.link).split("\n"), headings
        ),
    )


def page_url(path: str, site_url: str, use_directory_urls: bool = True) -> str:
    """The page's address on a site that MkDocs builds, such as `.../guide/setup/`."""
    file = File(path, src_dir="", dest_dir="", use_directory_urls=use_directory_urls)
    if not is_markdown_file(path):  # MkDocs is case-sensitive, and copies `A.MD` as it is
        return file_url(path, site_url)
    return str(urljoin(site_url.rstrip("/") + "/", file.url if file.url != "./" else ""))
