"""Headings and their real anchors, from rendering the page with Python-Markdown.

Python-Markdown does not report the line of an element. So each line that may be a heading gets a
mark of characters that slugs drop, which identifies the headings in the result.
"""

import html
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import Any
from xml.etree import ElementTree

from markdown import Markdown
from markdown.extensions.toc import (
    TocTreeprocessor,
    remove_fnrefs,
    render_inner_html,
    strip_tags,
    unescape,
    unique,
)
from markdown.treeprocessors import Treeprocessor
from pymdownx.highlight import HighlightTreeprocessor  # type: ignore[import-untyped]
from pymdownx.superfences import SuperFencesBlockPreprocessor  # type: ignore[import-untyped]

from wiki.sources.sections import Heading

# Marks use Unicode's last private plane, which neither texts nor icon fonts use.
_OPEN, _CLOSE = "\U0010f000", "\U0010f001"
_DIGITS = [chr(0x10F100 + n) for n in range(64)]
_MARK = re.compile(f"{_OPEN}([{_DIGITS[0]}-{_DIGITS[-1]}]+){_CLOSE}")
_RESERVED = re.compile("[\U0010f000-\U0010f1ff]")

_HASHES = re.compile(r"^[\s>:*+\-\d.)]*?#{1,6}[ \t]*")
_UNDERLINE = re.compile(r"^[\s>]*(?:=+|-+)[ \t]*$")
# Lines above a rule whose ending or form gives them another meaning.
_NO_TITLE = re.compile(
    r"\s*+(?:$|`{3}|~{3}|///|:::|!!!|\?\?\?|===|\||\{|</?[a-z]|\[[^\]]*+\]:|.*-->)"
)
_ATTRIBUTES = re.compile(r"(?<! )[ ]*+\{[^{}\n]*+\}[ \t]*$")
# Maximum headings on consecutive lines; more of them are not text.
_RUN = 50
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LISTS = ("li", "dd", "blockquote", "td", "th")


class Renderer:
    """Renders pages with Python-Markdown and some extensions."""

    def __init__(self, extensions: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises an extension's errors for options that it does not know."""
        self._lock = Lock()  # Python-Markdown keeps its current state in the object
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a deprecated extension still works
            self._markdown = Markdown(
                extensions=list(extensions),
                extension_configs={name: dict(values) for name, values in options.items()},
            )
        toc = self._markdown.treeprocessors["toc"]
        if not isinstance(toc, TocTreeprocessor):
            raise TypeError(f"toc is {toc}")
        _uncoloured(self._markdown)
        self._anchors = _Anchors(self._markdown, toc)
        processors = self._markdown.treeprocessors
        processors.register(_Bare(self._markdown), "askdocs-bare", 25)  # before `inline`, 20
        processors.deregister("toc")
        processors.register(self._anchors, "askdocs-anchors", 5)  # at its former position
        self._serialized = self._markdown.serializer
        self._markdown.serializer = self._serialize

    def headings(self, lines: Sequence[str]) -> list[Heading]:
        """The headings that start a section: not those in quotes, lists and tables."""
        with self._lock:
            self._markdown.reset()
            self._anchors.found = {}  # for a page without text, nothing is rendered
            self._markdown.convert("\n".join(_apart(_marked(lines))))
            anchors = list(self._anchors.found.values())
        headings: list[Heading] = []
        for level, text, anchor in anchors:
            mark = _MARK.search(text)
            if mark is None:
                continue  # HTML in the source
            line = sum(_DIGITS.index(c) << (6 * n) for n, c in enumerate(mark[1]))
            shown = " ".join(_MARK.sub("", text).split())
            headings.append(Heading(level, shown, anchor, line))
        # Footnotes are rendered at the end, wherever they are defined.
        return sorted(headings, key=lambda heading: heading.line)

    def _serialize(self, element: ElementTree.Element) -> str:
        # The rendered page is not needed; the rendered headings are.
        return "<div></div>" if element is self._anchors.root else self._serialized(element)


def _uncoloured(markdown: Markdown) -> None:
    """Disable highlighting, which takes most of the time.

    `use_pygments: false` would do it, too, but then fences with a title are not recognised.
    """
    for fences in markdown.preprocessors:
        if isinstance(fences, SuperFencesBlockPreprocessor):
            for kind in fences.extension.superfences:
                if kind["name"] == "superfences":  # the default for all languages
                    kind["formatter"] = _code
    for indented in markdown.treeprocessors:
        if isinstance(indented, HighlightTreeprocessor):
            indented.config["use_pygments"] = False


def _code(**_: Any) -> str:
    return "<pre></pre>"


class _Bare(Treeprocessor):
    """Removes elements that contain no heading and no anchor, which saves most of the time."""

    def run(self, root: ElementTree.Element) -> None:
        _strip(root)


def _strip(element: ElementTree.Element) -> bool:
    """Remove the content of the element; is anything relevant left?"""
    matters = "id" in element.attrib
    # Attribute lists: `{#anchor}`.
    if element.text and "{" in element.text:
        matters = True
    else:
        element.text = None
    for child in list(element):
        if child.tail and "{" in child.tail:
            matters = True
        else:
            child.tail = None
        if child.tag in _HEADINGS or _strip(child) or child.tail:
            matters = True
        else:
            element.remove(child)
    return matters


class _Anchors(Treeprocessor):
    """Processes headings like `toc`, with its functions and settings, but without a table of
    contents."""

    def __init__(self, markdown: Markdown, toc: TocTreeprocessor) -> None:
        super().__init__(markdown)
        self._toc = toc
        self.root: ElementTree.Element | None = None
        self.found: dict[ElementTree.Element, tuple[int, str, str]] = {}
        """The level, text with its mark, and anchor of each heading outside lists."""

    def run(self, root: ElementTree.Element) -> None:
        self.root = root
        used = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
        counters: dict[str, int] = {}
        outside = set(_outside_lists(root))
        for element in root.iter():
            if element.tag not in _HEADINGS:
                continue
            rendered = render_inner_html(remove_fnrefs(element), self.md)
            text = html.unescape(strip_tags(rendered))
            anchor = element.get("id")
            if anchor is None:
                slug = self._toc.slugify(_MARK.sub("", text).strip(), self._toc.sep)
                anchor = unique(slug, used, counters)
            if element in outside:
                self.found[element] = int(element.tag[1]), text, unescape(anchor)


def _outside_lists(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in element:
        if not isinstance(child.tag, str) or child.tag in _LISTS:
            continue
        if child.tag in _HEADINGS:
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


def _apart(lines: Iterator[str]) -> Iterator[str]:
    """Inserts empty lines into long runs of headings.

    Python-Markdown removes one heading from a run and rescans the rest, which takes quadratic time.
    """
    run = 0
    for line in lines:
        run = run + 1 if line.startswith("#") else 0
        yield line
        if run == _RUN:
            yield ""
            run = 0


def _mark(number: int) -> str:
    digits = ""
    while number or not digits:
        digits += _DIGITS[number % 64]
        number //= 64
    return _OPEN + digits + _CLOSE
