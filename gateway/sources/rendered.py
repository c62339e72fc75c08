"""Headings as Python-Markdown makes them: the page is rendered, so the anchors are the real ones.

Python-Markdown does not say on which line an element began. So each line that may be a heading gets
a mark of characters that no slug keeps, and the headings of the result are known by their marks.
"""

import html
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any
from xml.etree import ElementTree

from markdown import Markdown
from markdown.extensions.toc import TocTreeprocessor, remove_fnrefs, render_inner_html, strip_tags
from markdown.treeprocessors import Treeprocessor

from gateway.sources.sections import Heading

# Marks are written in Unicode's last private plane, which neither texts nor icon fonts use.
_OPEN, _CLOSE = "\U0010f000", "\U0010f001"
_DIGITS = [chr(0x10F100 + n) for n in range(64)]
_MARK = re.compile(f"{_OPEN}([{_DIGITS[0]}-{_DIGITS[-1]}]+){_CLOSE}")
_RESERVED = re.compile("[\U0010f000-\U0010f1ff]")

_HASHES = re.compile(r"^[\s>:*+\-\d.)]*?#{1,6}[ \t]*")
_UNDERLINE = re.compile(r"^[\s>]*(?:=+|-+)[ \t]*$")
# Lines above a rule that mean something by how they end or are as a whole.
_NO_TITLE = re.compile(
    r"\s*(?:$|`{3}|~{3}|///|:::|!!!|\?\?\?|===|\||\{|</?[a-z]|\[[^\]]*\]:|.*-->)"
)
_ATTRIBUTES = re.compile(r"[ ]*\{[^{}\n]*\}[ \t]*$")
_LISTS = ("li", "dd", "blockquote", "td", "th")


class Renderer:
    """Renders pages with Python-Markdown and some extensions."""

    def __init__(self, extensions: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises whatever an extension raises on options that it does not know."""
        self._lock = Lock()  # Python-Markdown keeps what it is at in itself
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an extension that is deprecated still works
            self._markdown = Markdown(
                extensions=list(extensions),
                extension_configs={name: dict(values) for name, values in options.items()},
            )
        self._found = _Headings(self._markdown)
        processors = self._markdown.treeprocessors
        toc = processors["toc"]
        if isinstance(toc, TocTreeprocessor):
            toc.slugify = partial(_slug, toc.slugify)
        processors.register(_Bare(self._markdown), "askdocs-bare", 25)  # before `inline`, 20
        processors.register(self._found, "askdocs-headings", 6)  # `attr_list` is 8, `toc` 5

    def headings(self, lines: Sequence[str]) -> list[Heading]:
        """The headings that begin a section: those in quotes, lists and tables do not."""
        with self._lock:
            self._markdown.reset()
            self._found.found.clear()  # of a page without text nothing is rendered
            self._markdown.convert("\n".join(_marked(lines)))
            found = list(self._found.found)
        headings: list[Heading] = []
        for element, text in found:
            mark = _MARK.search(text)
            if mark is None:
                continue  # HTML that was written as such
            line = sum(_DIGITS.index(c) << (6 * n) for n, c in enumerate(mark[1]))
            shown = " ".join(_MARK.sub("", text).split())
            anchor = element.get("id", "")
            headings.append(Heading(int(element.tag[1]), shown, anchor, line))
        # Footnotes are rendered at the end, wherever they stand.
        return sorted(headings, key=lambda heading: heading.line)


def _slug(slugify: Callable[[str, str], str], text: str, separator: str) -> str:
    return slugify(_MARK.sub("", text).strip(), separator)


class _Bare(Treeprocessor):
    """Takes out the text in which no heading and no anchor can be: most of the time goes there."""

    def run(self, root: ElementTree.Element) -> None:
        stack = [root]
        while stack:
            element = stack.pop()
            if element.tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
                continue
            if element.text and "{" not in element.text:
                element.text = None
            for child in element:
                if child.tail and "{" not in child.tail:
                    child.tail = None
            stack.extend(element)


class _Headings(Treeprocessor):
    """Notes the headings, with their text, before `toc` adds to it."""

    def __init__(self, markdown: Markdown) -> None:
        super().__init__(markdown)
        self.found: list[tuple[ElementTree.Element, str]] = []

    def run(self, root: ElementTree.Element) -> None:
        self.found = [
            (element, html.unescape(strip_tags(render_inner_html(remove_fnrefs(element), self.md))))
            for element in _outside_lists(root)
        ]


def _outside_lists(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in element:
        if not isinstance(child.tag, str) or child.tag in _LISTS:
            continue
        if re.fullmatch("h[1-6]", child.tag):
            yield child
        else:
            yield from _outside_lists(child)


def _marked(lines: Sequence[str]) -> Iterator[str]:
    for number, written in enumerate(lines):
        line = _RESERVED.sub("\ufffd", written)
        above = lines[number - 1] if number else ""
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if hashes := _HASHES.match(line):
            yield line[: hashes.end()] + _mark(number) + line[hashes.end() :]
        elif _UNDERLINE.match(below) and not (
            _NO_TITLE.match(line) or (above.strip() and _UNDERLINE.match(line))
        ):
            attributes = _ATTRIBUTES.search(line)
            end = attributes.start() if attributes else len(line.rstrip())
            yield line[:end] + _mark(number) + line[end:]
        else:
            yield line


def _mark(number: int) -> str:
    digits = ""
    while number or not digits:
        digits += _DIGITS[number % 64]
        number //= 64
    return _OPEN + digits + _CLOSE
