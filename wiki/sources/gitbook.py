"""Reads a folder of Markdown in the layout of GitBook's Git Sync.

GitBook is a service, and its program is not public: this module follows its documentation and its
synced repositories (docs/how-to/sources-folders.md lists what could not be verified).
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import partial

from core.errors import AskdocsError
from wiki.pages.fences import fenced
from wiki.pages.page import Page
from wiki.pages.targets import referenced, retarget
from wiki.sources import addresses, sections
from wiki.sources.commonmark import (
    HeadingReader,
    RawHeading,
    front_matter,
    joined_blanks,
    plain,
)
from wiki.sources.detect import Project
from wiki.sources.gitbook_config import NAME, GitBookConfig, listed, load
from wiki.sources.sections import Heading
from wiki.sources.slugs import GitBookSlugger
from wiki.sources.source import Broken
from wiki.sources.trail import Trail
from wiki.sources.tree import Tree

_READER = HeadingReader()
_BLOCK = re.compile(r"(\s*)\{%-?\s*([\w-]++)(.*?)-?%\}\s*$")
_VALUE = re.compile(r'(?<!\w)(\w++)="([^"]*)"')
_INCLUDE = re.compile(r"""\s*["']([^"']+)["']""")
_SUMMARY = re.compile(r"\s*(?:<details\b[^<>]*>\s*)?<summary>(.*?)</summary>\s*$", re.IGNORECASE)
_DETAILS = re.compile(r"\s*</?details\b[^<>]*>\s*$", re.IGNORECASE)
_ID = re.compile(r"""\bid=["']([^"']+)["']""")
_CLASSIC_ID = re.compile(r"(?<!\s)\s*+\{#([^{}\s]++)\}\s*$")
_DEEPEST = 20


class GitBook:
    """Implements `wiki.sources.flavour.Flavour`."""

    about = ""

    def __init__(self, tree: Tree, config: GitBookConfig, site_url: str) -> None:
        self.tree = tree
        self._config = config
        self._site_url = site_url
        self.problems: list[Broken] = []
        self.titles = dict(self._listed())
        self.urls = {path: self._url(path, site_url) for path in self.titles}

    def _listed(self) -> Iterator[tuple[str, str]]:
        """Yields the pages in the table of contents, with titles. Other files are not published."""
        summary = self._config.summary
        if summary not in self.tree.files:
            yield from ((path, "") for path in self.tree.markdown if path.endswith(".md"))
            return
        entries = list(listed(summary, self.tree.text(summary)))
        readme = self._config.readme
        if readme in self.tree.files and not any(entry.path == readme for entry in entries):
            yield readme, ""
        for path, title, line in entries:
            if path in self.tree.files:
                yield path, title
            else:
                self.problems.append(Broken(f"{summary}:{line}", f"{path} does not exist"))

    def _url(self, path: str, site_url: str) -> str:
        if path == self._config.readme:
            return addresses.join(site_url, "")
        plain_path = posixpath.splitext(path)[0]
        if posixpath.basename(plain_path) == "README":
            plain_path = posixpath.dirname(plain_path)
        return addresses.join(site_url, plain_path)

    def file(self, path: str) -> str | None:
        return addresses.join(self._site_url, path)

    def resolve(self, path: str, target: str) -> str:
        if addresses.is_elsewhere(target):
            return target
        named, rest = addresses.split(target)
        there = addresses.beside(path, named)
        url = self.urls.get(there) or self.urls.get(posixpath.join(there, "README.md"))
        return target if url is None else addresses.relative(self.urls[path], url + rest)

    def plain(self, path: str, text: str, trail: Trail) -> list[str]:
        return list(self._plain(front_matter(text)[0], trail, (path,)))

    def page(self, path: str, text: str, trail: Trail) -> Page:
        _, front = front_matter(text)
        lines = self.plain(path, text, trail)
        lines, headings = joined_blanks(lines, list(_headings(lines)))
        own = sections.title(front.get("title"), lines, headings)
        return Page(
            path=path,
            title=own or self.titles[path] or sections.name(path),
            url=self.urls[path],
            sections=sections.cut(lines, headings),
        )

    def _plain(self, lines: Sequence[str], trail: Trail, above: tuple[str, ...]) -> Iterator[str]:
        """Converts GitBook's blocks in the last file of `above` to plain Markdown."""
        link = partial(trail.link_in, above[-1])
        lines = retarget(referenced("\n".join(lines)), link).split("\n")
        for line, code in zip(lines, fenced(lines), strict=True):
            block = None if code else _BLOCK.match(line)
            if code or block is None:
                yield line if code else _without_details(line)
                continue
            indent, kind, rest = block.groups()
            if kind == "include":
                yield from self._included(rest.strip(), trail, above)
                continue
            values = dict(_VALUE.findall(rest))
            if shown := _shown(kind, values):
                yield f"{indent}{shown}"
            yield ""

    def _included(self, rest: str, trail: Trail, above: tuple[str, ...]) -> Iterator[str]:
        match = _INCLUDE.match(rest)
        name = addresses.beside(above[-1], match[1]) if match else ""
        inside = bool(name) and not name.startswith("..") and name.endswith(".md")
        text = trail.file(name) if inside else None
        if text is None:
            trail.missing(above[-1], rest, match[1] if match else rest, name)
        elif name not in above and len(above) < _DEEPEST:
            yield from ["", *self._plain(front_matter(text)[0], trail, (*above, name)), ""]


def opened(project: Project, site_url: str) -> GitBook:
    """Opens the book of a `.gitbook.yaml` or a SUMMARY.md, or of a folder without them."""
    config = settings(project)
    try:
        return GitBook(Tree(project.content, project.bounds), config, site_url)
    except (OSError, ValueError) as error:
        file = project.content / config.summary
        raise AskdocsError(f"{file} cannot be read ({error}): it lists the pages") from None


def settings(project: Project) -> GitBookConfig:
    """The settings in its `.gitbook.yaml`, if it has one."""
    if project.settings is None or project.settings.name != NAME:
        return GitBookConfig(project.content)
    return load(project.settings, project.bounds)


def _shown(kind: str, values: dict[str, str]) -> str:
    """The text at the beginning of a block."""
    if kind == "hint":
        return f"**{values.get('style', 'info').capitalize()}**"
    if kind in ("tab", "code") and values.get("title"):
        return f"**{values['title']}**"
    if kind == "embed" and values.get("url"):
        return f"<{values['url']}>"
    if kind == "file" and values.get("src"):
        return f"[{posixpath.basename(values['src'])}](<{values['src']}>)"
    return ""


def _without_details(line: str) -> str:
    if summary := _SUMMARY.match(line):
        return f"**{summary[1].strip()}**"
    return "" if _DETAILS.match(line) else line


def _headings(lines: Sequence[str]) -> Iterator[Heading]:
    slugger = GitBookSlugger()
    titled = False
    for heading in _READER.headings(lines):
        text, anchor = _named(heading, slugger, titled)
        titled = titled or heading.level == 1
        if not heading.nested:
            yield Heading(heading.level, text, anchor, heading.line)


def _named(heading: RawHeading, slugger: GitBookSlugger, titled: bool) -> tuple[str, str]:
    text = " ".join(plain(heading.children).split()) or heading.text
    for child in heading.children:
        own = _ID.search(child.content) if child.type == "html_inline" else None
        if own:
            return text, own[1]
    if classic := _CLASSIC_ID.search(text):
        return text[: classic.start()], classic[1]
    if heading.anchor:
        return text, heading.anchor
    # The first heading of the first level is the page's title, at its top.
    return text, "" if heading.level == 1 and not titled else slugger.slug(text)
