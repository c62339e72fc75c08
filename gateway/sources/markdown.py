"""Markdown pages as MkDocs reads them.

Addresses and anchors are the ones that MkDocs gives the page, taken from MkDocs' and
Python-Markdown's own functions, so that a citation opens at the right heading.
"""

import html
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from markdown.extensions.toc import slugify, unique
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mkdocs.structure.files import File
from mkdocs.utils import meta

from gateway.wiki.page import Page, Section

_MARKDOWN = MarkdownIt("commonmark").enable("table")
# `## Heading {#anchor .class}`: attribute lists as Python-Markdown's attr_list reads them.
_ATTRIBUTES = re.compile(r"[ ]+\{:?[^{}]*\}\s*$")
_ANCHOR = re.compile(r"#([^\s{}=]+)")


def parse(path: str, text: str, site_url: str) -> Page:
    """Read one Markdown page.

    Args:
        path: relative to the wiki's folder.
        text: the file's content; front matter is read (`title`) and removed.
        site_url: address of the wiki's root.
    """
    # As CommonMark has it; a NUL would end the grammar of a quotation.
    body, front = meta.get_data(text.replace("\0", "\ufffd"))
    # Lines as both Markdown readers count them: a form feed or U+2028 does not end one.
    lines = re.sub(r"\r\n?", "\n", body).split("\n")
    headings = _headings(body, lines)
    named = front.get("title")
    title = named.strip() if isinstance(named, str) else ""
    title = title or next((h.text for h in headings if h.level == 1), "") or _name(path)
    return Page(
        path=path,
        title=title,
        url=page_url(path, site_url),
        sections=tuple(_sections(lines, headings)),
    )


def page_url(path: str, site_url: str) -> str:
    """The page's address on the site that MkDocs makes, for example `.../guide/setup/`."""
    file = File(path, src_dir="", dest_dir="", use_directory_urls=True)
    return str(urljoin(site_url.rstrip("/") + "/", file.url if file.url != "./" else ""))


@dataclass(frozen=True)
class _Heading:
    level: int
    text: str
    anchor: str
    line: int


def _headings(body: str, lines: list[str]) -> list[_Heading]:
    parts = [_taken_apart(pair, lines) for pair in itertools.pairwise(_MARKDOWN.parse(body))]
    headings = [part for part in parts if part]
    # Python-Markdown sets the named anchors aside before it makes the first one.
    used = {anchor for _, _, anchor in headings if anchor}
    found = []
    for token, text, named in headings:
        anchor = named or unique(slugify(html.unescape(text), "-"), used)
        # Headings in quotes and lists have anchors too, but begin no section.
        if token.level == 0 and token.map:
            found.append(_Heading(int(token.tag[1]), text.strip(), anchor, token.map[0]))
    return found


def _taken_apart(pair: tuple[Token, Token], lines: list[str]) -> tuple[Token, str, str] | None:
    """A heading's opening token, its text and the anchor that its attributes name."""
    token, inline = pair
    if token.type != "heading_open" or token.map is None:
        return None
    first, last = token.map
    # CommonMark has these two for headings, Python-Markdown for text.
    if token.level == 0 and (lines[first].startswith(" ") or last - first > 2):
        return None
    text = _plain(inline)
    children = inline.children or []
    # Not in code: `/users/{id}` is no attribute list.
    ends_in_text = bool(children) and children[-1].type == "text"
    attributes = _ATTRIBUTES.search(text) if ends_in_text else None
    if attributes is None:
        return token, text, ""
    named = _ANCHOR.findall(attributes.group())
    return token, text[: attributes.start()], named[-1] if named else ""


def _plain(inline: Token) -> str:
    kinds = ("text", "code_inline", "text_special")
    return "".join(
        child.content if child.type in kinds else " " if child.type == "softbreak" else ""
        for child in inline.children or ()
    )


def _sections(lines: list[str], headings: list[_Heading]) -> list[Section]:
    sections: list[Section] = []
    first = headings[0].line if headings else len(lines)
    above = "\n".join(lines[:first]).strip()
    if above:
        sections.append(Section("", "", (), above))
    stack: list[_Heading] = []
    ends = [*(heading.line for heading in headings[1:]), len(lines)]
    # A page without a heading has one end, of nothing.
    for heading, end in zip(headings, ends, strict=False):
        while stack and stack[-1].level >= heading.level:
            stack.pop()
        stack.append(heading)
        text = "\n".join(lines[heading.line : end]).strip()
        # The page's own title is not part of the path: it stands beside it everywhere.
        path = tuple(h.text for h in stack if h.level > 1)
        sections.append(Section(heading.text, heading.anchor, path, text))
    return sections


def _name(path: str) -> str:
    stem = Path(path).parent.name if Path(path).stem in ("index", "README") else Path(path).stem
    return (stem or "Home").replace("-", " ").replace("_", " ").capitalize()
