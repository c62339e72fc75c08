"""Reads a folder of Markdown as VitePress does.

Compared with VitePress 1.6.4: see tests/sources/test_vitepress.py.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pathspec.gitignore import GitIgnoreSpec

from wiki.pages.fences import fenced
from wiki.pages.page import Page
from wiki.pages.targets import referenced, retarget
from wiki.sources import addresses, boxes, sections
from wiki.sources.commonmark import (
    HeadingReader,
    RawHeading,
    front_matter,
    joined_blanks,
    plain,
    without_comments,
)
from wiki.sources.detect import Project
from wiki.sources.sections import Heading
from wiki.sources.slugs import VitePressSlugger
from wiki.sources.source import Broken
from wiki.sources.trail import Trail
from wiki.sources.tree import Tree
from wiki.sources.vitepress_config import VitePressConfig, load

_READER = HeadingReader()
_INCLUDE = re.compile(
    r"\s*<!--\s*@include:\s*+((?:(?!-->)[^\s{}#])++)\s*+(?:\{(\d*+),?(\d*+)\})?\s*-->\s*$"
)
_SNIPPET = re.compile(r"\s*+<<<\s++([^\s{}#\[]++)\s*+(?:\{[^}]*+\})?\s*+(?:\[.*\])?\s*$")
_BEGINS = re.compile(r"<(script|style)\b[^>]*>", re.IGNORECASE)
_CONTENTS = re.compile(r"\s*\[\[toc\]\]\s*$", re.IGNORECASE)
# From markdown-it-attrs, which is part of VitePress.
_ATTRIBUTES = re.compile(r"(?<!\s)\s*+\{(?:[^{}]*\s)?#([^\s{}]++)[^{}]*+\}\s*$")
_EMOJI = re.compile(r"(?<!\w):(?:[a-z][a-z0-9_+-]*|[+-]1):(?!\w)")
_DEEPEST = 20


class VitePress:
    """Implements `wiki.sources.flavour.Flavour`."""

    about = ""

    def __init__(self, tree: Tree, config: VitePressConfig, site_url: str, public: Path) -> None:
        self.tree = tree
        self._clean = config.clean_urls
        self._site_url = site_url or config.url
        self._public = public
        self.problems: list[Broken] = []
        self.titles: dict[str, str] = {}
        excluded = GitIgnoreSpec.from_lines(config.excluded)
        pages = (path for path in tree.markdown if path.endswith(".md"))
        self.urls = {path: self._url(path) for path in pages if not excluded.match_file(path)}

    def _url(self, path: str) -> str:
        name = path.removesuffix(".md")
        if posixpath.basename(name) == "index":
            return addresses.join(self._site_url, name.removesuffix("index"))
        return addresses.join(self._site_url, name if self._clean else f"{name}.html")

    def file(self, path: str) -> str | None:
        inner = path.removeprefix("public/")
        return addresses.join(self._site_url, inner) if inner != path else None

    def resolve(self, path: str, target: str) -> str:
        if addresses.is_elsewhere(target):
            return target
        named, rest = addresses.split(target)
        there = addresses.beside(path, named)
        files = [posixpath.normpath(posixpath.join(there, "index.md"))]
        if not named.endswith("/"):
            files.insert(0, re.sub(r"\.(?:md|html)$", "", there) + ".md")
        for file in files:
            if file in self.urls:
                return addresses.relative(self.urls[path], self.urls[file] + rest)
        if named.startswith("/") and self._is_public(named.lstrip("/")):
            there = addresses.join(self._site_url, named)
            return addresses.relative(self.urls[path], there + rest)
        return target

    def _is_public(self, name: str) -> bool:
        return self.tree.bounds.is_file(self._public / name)

    def plain(self, path: str, text: str, trail: Trail) -> list[str]:
        lines = list(self._whole(front_matter(text)[0], trail, (path,)))
        return boxes.named(without_comments(lines, "<!--", "-->"))

    def page(self, path: str, text: str, trail: Trail) -> Page:
        _, front = front_matter(text)
        lines = self.plain(path, text, trail)
        headings = list(_headings(lines))
        lines = [_ATTRIBUTES.sub("", line) if line.startswith("#") else line for line in lines]
        lines, headings = joined_blanks(lines, headings)
        return Page(
            path=path,
            title=sections.title(front.get("title"), lines, headings) or sections.name(path),
            url=self.urls[path],
            sections=sections.cut(lines, headings),
        )

    def _whole(self, lines: Sequence[str], trail: Trail, above: tuple[str, ...]) -> Iterator[str]:
        """The lines of the last file of `above`, with includes, and without code."""
        link = partial(trail.link_in, above[-1])
        lines = retarget(referenced("\n".join(lines)), link).split("\n")
        until = ""
        for line, code in zip(lines, fenced(lines), strict=True):
            if until:
                until = "" if until in line.lower() else until
            elif code:
                yield line
            elif begins := _BEGINS.match(line):
                end = f"</{begins[1].lower()}>"
                until = "" if end in line.lower() else end
            elif include := _INCLUDE.match(line):
                yield from self._included(include, trail, above)
            elif snippet := _SNIPPET.match(line):
                yield from self._code(snippet[1], trail, above)
            elif not _CONTENTS.match(line):
                yield line

    def _included(
        self, match: re.Match[str], trail: Trail, above: tuple[str, ...]
    ) -> Iterator[str]:
        text = self._file(match[1], trail, above)
        if text is None or len(above) >= _DEEPEST:
            return
        name = _named_file(match[1], above[-1])
        if name not in above:
            lines, _ = front_matter(text)
            first, last = int(match[2] or 1), int(match[3] or len(lines))
            yield from ["", *self._whole(lines[first - 1 : last], trail, (*above, name)), ""]

    def _code(self, written: str, trail: Trail, above: tuple[str, ...]) -> Iterator[str]:
        text = self._file(written, trail, above)
        if text is not None:
            language = posixpath.splitext(written)[1].removeprefix(".")
            fence = "`" * (max([2, *map(len, re.findall("`{3,}", text))]) + 1)
            yield from [f"{fence}{language}", *text.rstrip("\n").split("\n"), fence]

    def _file(self, written: str, trail: Trail, above: tuple[str, ...]) -> str | None:
        name = _named_file(written, above[-1])
        text = None if name.startswith("..") else trail.file(name)
        if text is None:
            trail.missing(above[-1], written, written, name)
        return text


def opened(project: Project, site_url: str) -> VitePress:
    """Opens the pages of a .vitepress/config, or of a folder without one."""
    config = load(project.settings, project.bounds) if project.settings else VitePressConfig()
    return VitePress(
        Tree(project.content, project.bounds), config, site_url, project.content / "public"
    )


def _named_file(written: str, file: str) -> str:
    if written.startswith("@/"):  # relative to the folder of all pages
        return posixpath.normpath(written.removeprefix("@/"))
    return addresses.beside(file, written)


def _headings(lines: Sequence[str]) -> Iterator[Heading]:
    slugger = VitePressSlugger()
    for heading in _READER.headings(lines):
        text, anchor = _named(heading, slugger)
        if not heading.nested:
            yield Heading(heading.level, text, anchor, heading.line)


def _named(heading: RawHeading, slugger: VitePressSlugger) -> tuple[str, str]:
    """The text of a heading without its anchor's definition, and the anchor."""
    if heading.anchor:
        return heading.text, heading.anchor
    text = plain(heading.children)
    own = _ATTRIBUTES.search(text)
    shown = text[: own.start()] if own else text
    anchor = slugger.slug(_EMOJI.sub("", shown), own[1] if own else "")
    return " ".join(shown.split()), anchor
