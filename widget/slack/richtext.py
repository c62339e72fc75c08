"""Converts Markdown to Slack's rich text.

Rich text instead of mrkdwn, because an answer's or a page title's text is literal there:
`<!channel>`,
`<@U123>` and `*` are characters, and nobody can be pinged. mrkdwn has to be escaped, cannot
escape `*` and `_` at all, and shows bold only between spaces. Slack prefers it, too:
https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode as Node

from widget.access.origins import web_address
from widget.text.markdown import SOURCE_FILES

Element = dict[str, Any]

# Maximum characters of JSON. Slack rejects messages whose blocks have more than about 13,200
# (msg_blocks_too_long; slackapi/bolt-js#2509), and the buttons need a part of them.
LIMIT = 9_000
CUT = "… The answer goes on: it is longer than a message can be."

DEEPEST = 8  # list levels that Slack indents

_MARK = re.compile(r"⁅(\d{1,3})⁆")
_STYLES = {"strong": "bold", "em": "italic", "s": "strike"}
_parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def block(text: str, base: str = "", cited: Sequence[str] = ()) -> Element:
    """A rich_text block with the text, truncated at Slack's limit.

    `base` is the base URL of relative links; without it they become plain text. `cited` are the
    targets of the marks from `widget.text.markdown.with_marks`, from 1 on.
    """
    whole = len(text) <= 2 * LIMIT  # more could not be shown, so do not parse it
    made = _block(text := text[: 2 * LIMIT], base, cited)
    while (size := len(json.dumps(made, ensure_ascii=False))) > LIMIT:
        whole = False
        shorter = text[: len(text) * LIMIT // size - 1]
        text = shorter.rpartition("\n")[0] or shorter
        made = _block(text, base, cited)
    if not whole:
        made["elements"].append(section(literal(CUT, italic=True)))
    return made


def _block(text: str, base: str, cited: Sequence[str]) -> Element:
    writer = _Writer(base)
    for node in Node(_parser.parse(text)).children:
        writer.write(node)
    writer.flush()
    return _with_links(rich_text(*writer.elements), cited)


def _with_links(element: Element, cited: Sequence[str]) -> Element:
    """The element with links in place of its marks."""
    if "elements" not in element:
        return element
    elements: list[Element] = []
    for inner in element["elements"]:
        if inner["type"] != "text" or "⁅" not in inner["text"]:
            elements.append(_with_links(inner, cited))
            continue
        for number, part in enumerate(_MARK.split(inner["text"])):
            if number % 2 == 0:
                _add(elements, {**inner, "text": part})
            elif 0 < int(part) <= len(cited) and (url := web_address(cited[int(part) - 1])):
                _add(elements, link(url, f"[{part}]"))
    return {**element, "elements": elements or [literal(" ")]}


def rich_text(*elements: Element) -> Element:
    """A block. Slack rejects an empty block."""
    return {"type": "rich_text", "elements": list(elements) or [section(literal(" "))]}


def section(*elements: Element) -> Element:
    """A paragraph."""
    return {"type": "rich_text_section", "elements": list(elements)}


def literal(text: str, **style: bool) -> Element:
    """Literal text."""
    return {"type": "text", "text": text, **({"style": style} if style else {})}


def link(url: str, text: str, **style: bool) -> Element:
    """A link; the URL must pass `web_address`."""
    return {"type": "link", "url": url, "text": text or url, **({"style": style} if style else {})}


class _Writer:
    """Converts Markdown's nested blocks to Slack's flat elements."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.elements: list[Element] = []
        self.open: list[Element] = []  # of the current section

    def flush(self, end: str = "") -> None:
        """End the section."""
        if self.open:
            _add(self.open, literal(end) if end else None)
            self.elements.append(section(*self.open))
            self.open = []

    def write(self, node: Node) -> None:
        """Write a block."""
        match node.type:
            case "paragraph":
                self._text(_inline(node, self.base))
            case "heading":
                self._text(_inline(node, self.base, bold=True))
            case "fence" | "code_block":
                self._preformatted(node.content)
            case "table":
                self._preformatted(_table(node))
            case "bullet_list" | "ordered_list":
                self.flush("\n")
                self._list(node, 0)
            case "blockquote":
                self.flush("\n")
                quoted = list(_lines(node, self.base))
                self.elements.append({"type": "rich_text_quote", "elements": quoted})

    def _text(self, elements: Sequence[Element]) -> None:
        space = "\n\n" if self.open else "\n" if self.elements else ""
        for element in (literal(space) if space else None, *elements):
            _add(self.open, element)

    def _preformatted(self, code: str) -> None:
        self.flush("\n")
        code = code.rstrip("\n") or " "
        self.elements.append({"type": "rich_text_preformatted", "elements": [literal(code)]})

    def _list(self, node: Node, indent: int) -> None:
        style = "ordered" if node.type == "ordered_list" else "bullet"
        first = int(node.attrs.get("start", 1)) - 1
        items: list[Element] = []
        for number, item in enumerate(node.children, first):
            rest = list(item.children)
            begun = rest and rest[0].type in ("paragraph", "heading")
            words = _inline(rest.pop(0), self.base) if begun else []
            if not items:
                kind = {"type": "rich_text_list", "style": style, "indent": min(indent, DEEPEST)}
                if number and style == "ordered":
                    kind["offset"] = number
                self.elements.append({**kind, "elements": items})
            items.append(section(*(words or [literal(" ")])))
            for inner in rest:
                # Content that Slack cannot nest interrupts the list, which continues after it.
                if inner.type in ("bullet_list", "ordered_list"):
                    self._list(inner, indent + 1)
                else:
                    self.write(inner)
                    self.flush("\n")
                items = []


def _inline(node: Node, base: str, **style: bool) -> list[Element]:
    elements: list[Element] = []
    for child in node.children:
        for element in _span(child, base, style):
            _add(elements, element)
    return elements


def _span(node: Node, base: str, style: dict[str, bool]) -> Iterator[Element]:
    match node.type:
        case "text":
            yield literal(node.content, **style)
        case "code_inline":
            yield literal(node.content, **style, code=True)
        case "softbreak":
            yield literal(" ", **style)
        case "hardbreak":
            yield literal("\n", **style)
        case "link" | "image":
            words = node.content if node.type == "image" else _plain(node)
            url = _address(str(node.attrs.get("href") or node.attrs.get("src") or ""), base)
            yield link(url, words, **style) if url else literal(words, **style)
        case kind:
            inner = {**style, _STYLES[kind]: True} if kind in _STYLES else style
            for child in node.children:
                yield from _span(child, base, inner)


def _add(elements: list[Element], new: Element | None) -> None:
    """Append text, merging it with preceding text of the same style. Slack rejects ""."""
    if new is None or not new["text"]:
        return
    last = elements[-1] if elements else None
    if last and last["type"] == new["type"] == "text" and last.get("style") == new.get("style"):
        elements[-1] = {**last, "text": last["text"] + new["text"]}
    else:
        elements.append(new)


def _lines(node: Node, base: str) -> Iterator[Element]:
    """The text of a quotation, without its structure."""
    for number, part in enumerate(node.children):
        if number:
            yield literal("\n")
        if part.type in ("paragraph", "heading"):
            yield from _inline(part, base)
        elif part.type in ("fence", "code_block"):
            yield literal(part.content.rstrip("\n") or " ", code=True)
        elif part.type == "list_item":
            yield literal("• ")
            yield from _lines(part, base)
        else:
            yield from _lines(part, base)
    if not node.children:
        yield literal(" ")


def _plain(node: Node) -> str:
    if node.type in ("softbreak", "hardbreak"):
        return " "
    return node.content if not node.children else "".join(_plain(child) for child in node.children)


def _table(node: Node) -> str:
    """Columns of equal width."""
    rows = [
        [_plain(cell) for cell in row.children] for part in node.children for row in part.children
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _address(href: str, base: str) -> str:
    """The absolute URL, or an empty string if it is not a valid target."""
    try:
        parts = urlsplit(href)
        if not parts.scheme and not parts.netloc:
            if not base or parts.path.lower().endswith(SOURCE_FILES):
                return ""
            href = urljoin(base, href)
    except ValueError:
        return ""
    return web_address(href)
