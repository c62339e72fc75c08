"""Markdown as GitHub, GitLab and similar hosts render it, in repositories and wikis."""

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from wiki.pages.page import Page
from wiki.pages.targets import referenced, retarget
from wiki.sources import addresses, sections
from wiki.sources.commonmark import HeadingReader, front_matter, joined_blanks
from wiki.sources.detect import detect
from wiki.sources.flavour import Flavour
from wiki.sources.folder import made
from wiki.sources.git_address import Address
from wiki.sources.sections import Heading
from wiki.sources.slugs import GitHubSlugger, GitLabSlugger
from wiki.sources.source import Broken
from wiki.sources.trail import Trail
from wiki.sources.tree import Tree

_READER = HeadingReader()
_WIKI = ".wiki"
# Shown next to or below every page of a wiki, but not pages.
_FURNITURE = ("_footer", "_header", "_sidebar")


@dataclass(frozen=True)
class RepositoryUrls:
    """The addresses at which a service shows the files of a repository."""

    base: str
    folder: str
    """The repository's folder of pages."""
    is_wiki: bool
    is_gitlab: bool = False

    def __call__(self, path: str) -> str:
        """The address of a file."""
        whole = posixpath.join(self.folder, path) if self.folder else path
        if self.is_wiki:
            stem, suffix = posixpath.splitext(whole)
            if suffix.lower() in (".md", ".markdown", ".rst", ".adoc", ".asciidoc"):
                whole = "" if stem.lower() == "home" else stem
        return (self.base + quote(whole)).rstrip("/")


def place_of(at: Address, site_url: str) -> RepositoryUrls:
    """The addresses of a repository's files; `site_url` is that of a wiki."""
    shown = at.url.rstrip("/").removesuffix(".git")
    host, is_gitlab = urlsplit(shown).netloc, _is_gitlab(shown)
    if shown.endswith(_WIKI):
        between = "/-/wikis/" if is_gitlab else "/wiki/"
        base = site_url.rstrip("/") + "/" if site_url else shown.removesuffix(_WIKI) + between
        return RepositoryUrls(base, at.folder, True, is_gitlab or base.endswith("/-/wikis/"))
    branch = quote(at.branch or "HEAD")
    blob = "/-/blob/" if is_gitlab else "/blob/"
    if "bitbucket" in host:
        blob = "/src/"
    elif any(name in host for name in _GITEAS):
        blob = "/src/branch/"
    return RepositoryUrls(f"{shown}{blob}{branch}/", at.folder, False, is_gitlab)


_GITEAS = ("codeberg", "forgejo", "gitea")


def _is_gitlab(shown: str) -> bool:
    """Detected by the host, by the path below it, or because only GitLab has nested groups."""
    split = urlsplit(shown)
    first, *rest = split.path.strip("/").split("/")
    is_other = any(name in split.netloc or name == first for name in ("bitbucket", *_GITEAS))
    return "gitlab" in split.netloc or (not is_other and len(rest) > 1)


class Hosted:
    """Implements `wiki.sources.flavour.Flavour`."""

    about = "hosted"

    def __init__(
        self, tree: Tree, place: Callable[[str], str], is_wiki: bool, is_gitlab: bool = False
    ) -> None:
        self.tree = tree
        self._place = place
        self._is_gitlab_wiki = is_wiki and is_gitlab
        self._slugger = GitLabSlugger if is_gitlab else GitHubSlugger
        self.titles: dict[str, str] = {}
        self.problems: list[Broken] = []
        self.urls = {
            path: place(path) for path in tree.markdown if not _is_furniture(path, is_wiki)
        }

    @classmethod
    def opened(cls, root: Path, place: RepositoryUrls) -> Flavour:
        """Opens a repository's wiki: the site that its settings name, or else the files as they
        are."""
        project = detect(root)
        if project.settings and not place.is_wiki:
            flavour = made(project, "")
            if flavour.urls and all(urlsplit(url).scheme for url in flavour.urls.values()):
                return flavour
        return cls(Tree(root), place, place.is_wiki, place.is_gitlab)

    def file(self, path: str) -> str | None:
        return self._place(path)

    def resolve(self, path: str, target: str) -> str:
        if addresses.is_elsewhere(target):
            return target
        named, rest = addresses.split(target)
        # A GitLab wiki resolves `a/b` from its root, and `./a/b` from the page.
        from_root = self._is_gitlab_wiki and not named.startswith((".", "/"))
        there = addresses.beside("" if from_root else path, named)
        for file in (there, f"{there}.md"):
            if file in self.tree.files:
                return addresses.relative(self.urls[path], self._place(file) + rest)
        return target

    def page(self, path: str, text: str, trail: Trail) -> Page:
        body, front = front_matter(text)
        lines = retarget(referenced("\n".join(body)), trail.link).split("\n")
        slugger = self._slugger()
        anchored = [(heading, slugger.slug(heading.text)) for heading in _READER.headings(lines)]
        headings = [
            Heading(
                heading.level,
                " ".join(heading.text.split()),
                heading.anchor or anchor,
                heading.line,
            )
            for heading, anchor in anchored
            if not heading.nested
        ]
        lines, headings = joined_blanks(lines, headings)
        title = sections.title(front.get("title"), lines, headings) or sections.name(path)
        return Page(path, title, self.urls[path], sections.cut(lines, headings))


def _is_furniture(path: str, is_wiki: bool) -> bool:
    return is_wiki and posixpath.splitext(posixpath.basename(path))[0].lower() in _FURNITURE
