"""Reads an Obsidian vault, with the addresses of Obsidian Publish.

Publish is a service: this module follows its documentation, and could not be verified against it.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

from wiki.pages.fences import fenced
from wiki.pages.page import Page, Section
from wiki.pages.targets import referenced, retarget
from wiki.sources import addresses, bounded, sections
from wiki.sources.commonmark import (
    HeadingReader,
    front_matter,
    joined_blanks,
    plain,
    without_comments,
)
from wiki.sources.detect import Project
from wiki.sources.sections import Heading
from wiki.sources.source import Broken
from wiki.sources.trail import Trail
from wiki.sources.tree import Tree, file_url

_READER = HeadingReader()
_WIKI = re.compile(r"(?<!`)(`++).*?(?<!`)\1(?!`)|(!?)\[\[([^\[\]\n]+)\]\]")
_EMBED = re.compile(r"\s*!\[\[([^\[\]\n]+)\]\]\s*$")
_CALLOUT = re.compile(r"^((?:\s*>)++\s*+)\[!([\w-]++)[^\]]*+\][-+]?\s*+(.*)$")
_HIGHLIGHT = re.compile(r"(?<!`)(`++).*?(?<!`)\1(?!`)|==(?=[^\s=])([^=\n]++)(?<=\S)==")
_BLOCK_ID = re.compile(r"(?:^|(?<!\s)\s++)\^([A-Za-z0-9-]++)\s*$")
_NO_LINK = re.compile(r"[:#|^\\\r\n]|%%|\[\[|\]\]")
_HASHES = re.compile(r"\s{0,3}#{1,6}\s++(.*)$")
_DEEPEST = 5


class Obsidian:
    """Implements `wiki.sources.flavour.Flavour`."""

    about = ""

    def __init__(self, tree: Tree, site_url: str) -> None:
        self.tree = tree
        self.problems: list[Broken] = []
        self.titles: dict[str, str] = {}
        self._site_url = site_url
        self.urls = dict(self._published())
        # Lower-case names of notes and files; the shortest path wins.
        self._by_name: dict[str, list[str]] = {}
        for path in sorted(tree.files, key=lambda path: (path.count("/"), len(path), path)):
            self._by_name.setdefault(posixpath.basename(path).lower(), []).append(path)

    def _published(self) -> Iterator[tuple[str, str]]:
        for path in self.tree.markdown:
            if not path.endswith(".md"):
                continue
            try:
                with bounded.page(path):
                    _, front = front_matter(self.tree.text(path))
            except (OSError, ValueError):
                front = {}  # `Folder` reports the problem
            if front.get("publish") is False:
                continue
            link = front.get("permalink")
            name = link.strip("/") if isinstance(link, str) and link.strip("/") else path[:-3]
            yield path, self._site_url.rstrip("/") + "/" + _encoded(name)

    def file(self, path: str) -> str | None:
        return file_url(path, self._site_url)

    def find(self, path: str, name: str) -> str | None:
        """The file that a link in the note `path` refers to, by Obsidian's rules."""
        name = posixpath.normpath(name.strip().lstrip("/")) if name.strip() else ""
        if not name:
            return path
        for wanted in (f"{name}.md", name):
            if name.startswith("."):
                wanted = addresses.beside(path, wanted)
            if wanted in self.tree.files:
                return wanted
            tail = "/" + wanted.lower()
            named = self._by_name.get(posixpath.basename(wanted).lower(), [])
            matches = [candidate for candidate in named if ("/" + candidate.lower()).endswith(tail)]
            if matches:
                beside = posixpath.join(posixpath.dirname(path), posixpath.basename(wanted))
                return beside if beside in matches else matches[0]
        return None

    def resolve(self, path: str, target: str) -> str:
        here = self.urls[path]
        if target.startswith("[["):
            name, _, fragment = target[2:-2].partition("#")
            there = self.find(path, name)
            if there is None:
                return target
            anchor = _anchor_of_link(fragment)
            if there == path:
                return anchor or "#"
        else:
            if addresses.is_elsewhere(target):
                return target
            name, rest = addresses.split(target)
            beside = addresses.beside(path, name)
            there = beside if beside in self.tree.files else self.find(path, name)
            anchor = _anchor_of_link(unquote(rest[1:])) if rest.startswith("#") else rest
        if there in self.urls:
            return addresses.relative(here, self.urls[there] + anchor)
        if there is not None and there in self.tree.files and not there.endswith(".md"):
            return addresses.relative(here, file_url(there, self._site_url))
        return target

    def plain(self, path: str, text: str, trail: Trail) -> list[str]:
        return list(self._plain(front_matter(text)[0], trail, (path,)))

    def page(self, path: str, text: str, trail: Trail) -> Page:
        _, front = front_matter(text)
        lines = self.plain(path, text, trail)
        lines, headings = joined_blanks(lines, list(_headings(lines)))
        named = front.get("title")
        title = named.strip() if isinstance(named, str) and named.strip() else ""
        page_sections = sections.cut(lines, headings)
        also = _names(front.get("aliases")) + _names(front.get("alias"))
        tags = _names(front.get("tags")) + _names(front.get("tag"))
        sentences = [f"Also called: {', '.join(also)}."] * bool(also)
        sentences += [f"Tags: {', '.join(tags)}."] * bool(tags)
        if sentences and page_sections:
            # Readers also know the page by these words, so index them.
            first = Section("", "", (), " ".join(sentences))
            if not page_sections[0].heading:
                first = Section("", "", (), f"{first.text}\n\n{page_sections[0].text}")
                page_sections = page_sections[1:]
            page_sections = (first, *page_sections)
        return Page(
            path=path,
            title=title or posixpath.basename(path).removesuffix(".md"),
            url=self.urls[path],
            sections=page_sections,
        )

    def _plain(self, lines: Sequence[str], trail: Trail, above: tuple[str, ...]) -> Iterator[str]:
        """Converts Obsidian's syntax in the last file of `above` to plain Markdown."""
        link = partial(trail.link_in, above[-1])
        lines = retarget(referenced("\n".join(lines)), link).split("\n")
        lines = without_comments(lines, "%%", "%%")
        for line, code in zip(lines, fenced(lines), strict=True):
            if code:
                yield line
            elif embed := _EMBED.match(line):
                yield from self._embedded(embed[1], trail, above)
            else:
                line = _HIGHLIGHT.sub(_highlight, line)
                line = _BLOCK_ID.sub("", _WIKI.sub(lambda m: self._link(m, above, trail), line))
                yield _CALLOUT.sub(_callout, line)
                if callout := _CALLOUT.match(line):
                    yield callout[1].rstrip()

    def _link(self, match: re.Match[str], above: tuple[str, ...], trail: Trail) -> str:
        if match[1]:
            return match.group()  # code
        target, _, shown = match[3].replace("\\|", "|").partition("|")
        written = self._written(target, above)
        link = trail.link(f"[[{written}]]")
        if link == f"[[{written}]]":
            return match.group()
        name, _, fragment = target.partition("#")
        is_picture = bool(match[2]) and not fragment and "." in name
        text = shown.strip() or " > ".join(p.strip() for p in target.split("#") if p.strip())
        mark = "!" if is_picture else ""
        return f"{mark}[{text}](<{link}>)" if " " in link else f"{mark}[{text}]({link})"

    def _written(self, target: str, above: tuple[str, ...]) -> str:
        """Rewrites a link for the page that embeds its file."""
        name, hash_mark, fragment = target.strip().partition("#")
        if len(above) == 1:
            return target.strip()
        note = self.find(above[-1], name)
        return (note or name) + hash_mark + fragment

    def _embedded(self, target: str, trail: Trail, above: tuple[str, ...]) -> Iterator[str]:
        """Yields the text of an embedded note, or an image."""
        name, _, fragment = target.partition("|")[0].partition("#")
        note = self.find(above[-1], name)
        link = trail.link(f"[[{note or name}]]")
        if note is None:
            trail.missing(above[-1], f"![[{target}]]", name)
        elif not note.endswith(".md"):
            yield f"![{posixpath.basename(note)}](<{link}>)"
        elif note not in above and len(above) < _DEEPEST:
            text = trail.file(note) or ""
            body, _ = front_matter(text)
            inner = self._plain(_part(body, fragment), trail, (*above, note))
            yield from ["", *_without_headings(list(inner)), ""]


def opened(project: Project, site_url: str) -> Obsidian:
    """Opens the vault that a folder is, or is part of."""
    return Obsidian(Tree(project.content, project.bounds), site_url)


def _encoded(text: str) -> str:
    return quote(text, safe="/ ").replace(" ", "+")


def _linkable(text: str) -> str:
    """A heading as a link may refer to it: characters that would break links become spaces."""
    return " ".join(_NO_LINK.sub(" ", text).split())


def _anchor(text: str) -> str:
    return quote(_linkable(text), safe=" ").replace(" ", "+")


def _anchor_of_link(fragment: str) -> str:
    if not fragment.strip():
        return ""
    if fragment.startswith("^"):
        return "#^" + quote(fragment[1:].strip())
    return "#" + "#".join(_anchor(part) for part in fragment.split("#") if part.strip())


def _headings(lines: Sequence[str]) -> Iterator[Heading]:
    seen: set[str] = set()
    stack: list[tuple[int, str]] = []
    for heading in _READER.headings(lines):
        if heading.nested:
            continue
        text = " ".join(plain(heading.children).split()) or heading.text
        while stack and stack[-1][0] >= heading.level:
            stack.pop()
        stack.append((heading.level, _anchor(text)))
        anchor = stack[-1][1]
        if anchor in seen and len(stack) > 1:
            # A link finds the first heading with its name; with the parent headings, it finds this
            # one.
            anchor = "#".join(part for _, part in stack)
        seen.add(anchor)
        yield Heading(heading.level, text, anchor, heading.line)


def _highlight(match: re.Match[str]) -> str:
    return match.group() if match[1] else f"**{match[2]}**"


def _callout(match: re.Match[str]) -> str:
    kind = match[2].replace("-", " ").capitalize()
    return f"{match[1]}**{kind}: {match[3]}**" if match[3] else f"{match[1]}**{kind}**"


def _part(lines: list[str], fragment: str) -> list[str]:
    """The part of a note that an embed refers to: a heading with its content, or a block."""
    if not fragment:
        return lines
    if fragment.startswith("^"):
        for number, line in enumerate(lines):
            if (match := _BLOCK_ID.search(line)) and match[1] == fragment[1:].strip():
                start = number
                alone = not line[: match.start()].strip()  # below the block that it refers to
                while start and (lines[start - 1].strip() or (alone and start == number)):
                    start -= 1
                return lines[start : number + 1]
        return []
    wanted = _linkable(fragment.rpartition("#")[2]).lower()
    headings = [heading for heading in _READER.headings(lines) if not heading.nested]
    for number, heading in enumerate(headings):
        if _linkable(plain(heading.children)).lower() == wanted:
            ends = (
                following.line
                for following in headings[number + 1 :]
                if following.level <= heading.level
            )
            return lines[heading.line : next(ends, len(lines))]
    return []


def _without_headings(lines: list[str]) -> list[str]:
    """Turns embedded headings, which are no link targets on this page, into bold text."""
    codes = fenced(lines)
    return [
        line if code or not (match := _HASHES.match(line)) else f"**{_unclosed(match[1])}**"
        for line, code in zip(lines, codes, strict=True)
    ]


def _unclosed(heading: str) -> str:
    """A heading without closing hashes."""
    text = heading.rstrip()
    bare = text.rstrip("#")
    return bare.rstrip() if bare[-1:].isspace() or not bare else text


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, list):
        return [str(name).strip() for name in value if isinstance(name, str | int | float)]
    return []
