"""Converts Notion's blocks and property values to HTML and text.

https://developers.notion.com/reference/block, as of version 2026-03-11.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from wiki.sources.services.addresses import plain_id
from wiki.sources.services.api import ServiceRefused, listed, mapping, word

Block = Mapping[str, Any]
HOME = "https://www.notion.so"
LARGEST = 8 * 2**20
# Maximum blocks of a page, blocks with children (each takes a request), and nesting depth.
_BLOCKS, _HOLDERS, _DEPTH = 20_000, 2_000, 40
_LANGUAGE = re.compile(r"[\w+#.-]{1,40}", re.ASCII)
_LISTS = {"bulleted_list_item": "ul", "numbered_list_item": "ol", "to_do": "ul"}
_HEADINGS = {f"heading_{level}": f"h{level + 1}" for level in (1, 2, 3, 4)}
# The tags around a block's text and its children.
_AROUND = {"paragraph": "div", "template": "div", "quote": "blockquote", "callout": "blockquote"}
_HOLDING = ("column_list", "column", "tab")
_MEDIA = ("image", "video", "file", "pdf", "audio", "embed", "bookmark", "link_preview")
# Blocks that show content from elsewhere.
_NOTHING = ("table_of_contents", "breadcrumb")
_MARKS = {"code": "code", "bold": "strong", "italic": "em", "strikethrough": "del"}


class Document:
    """The HTML of one page, while its blocks are read."""

    def __init__(self, title: str, children: Callable[[str], Iterable[Block]]) -> None:
        """
        Args:
            title: the page's title.
            children: returns the child blocks of a page or a block, by ID.
        """
        self._children = children
        self._parts: list[str] = []
        self._size = self._blocks = self._holders = 0
        self.below: list[str] = []
        """IDs of the child pages and databases."""
        self.unread: dict[str, None] = {}
        """Types of blocks that the API does not return, in order."""
        self.put(f"<!doctype html><body><main><h1>{html.escape(title)}</h1>")

    @property
    def html(self) -> str:
        return "".join(self._parts)

    def put(self, text: str) -> None:
        """Raises ValueError: the page is too large."""
        self._size += len(text)
        if self._size > LARGEST:
            raise ValueError(f"larger than {LARGEST // 2**20} MiB")
        self._parts.append(text)

    def hold(self, at: str, depth: int = 0) -> None:
        """Append the content of a page or block.

        Raises:
            ValueError: it is too large, or nested too deeply.
            ServiceRefused: the service refuses it.
        """
        around = ""
        for block in self._held(at, depth):
            tag = _LISTS.get(str(block.get("type")), "")
            if tag != around:
                self.put((around and f"</{around}>") + (tag and f"<{tag}>"))
                around = tag
            self._write(block, depth)
        self.put(around and f"</{around}>")

    def _write(self, block: Block, depth: int) -> None:
        kind = str(block.get("type"))
        about = mapping(block.get(kind))
        at = plain_id(block.get("id"))
        text = rich(about.get("rich_text"))
        if kind in _HEADINGS:
            self.put(f'<{_HEADINGS[kind]} id="{at}">{text}</{_HEADINGS[kind]}>')
            self._inner(block, depth)
        elif kind in _LISTS:
            mark = "" if kind != "to_do" else "[x] " if about.get("checked") is True else "[ ] "
            self.put(f"<li>{mark}{text}")
            self._inner(block, depth)
            self.put("</li>")
        elif kind in _AROUND:
            self.put(f"<{_AROUND[kind]}><p>{text}</p>")
            self._inner(block, depth)
            self.put(f"</{_AROUND[kind]}>")
        elif kind == "toggle":
            self.put(f"<p><strong>{text}</strong></p><div>")
            self._inner(block, depth)
            self.put("</div>")
        elif kind == "code":
            self._code(about)
        elif kind == "equation":
            self.put(f"<pre>{html.escape(str(about.get('expression') or ''))}</pre>")
        elif kind == "table":
            self._table(block, about, depth)
        elif kind in ("child_page", "child_database"):
            self.below.append(at)
            self.put(f"<p>{_link(f'{HOME}/{at}', html.escape(str(about.get('title') or '')))}</p>")
        elif kind == "link_to_page":
            target = plain_id(about.get(str(about.get("type"))))
            self.put(f"<p>{_link(f'{HOME}/{target}', 'Link to a page')}</p>" if target else "")
        elif kind in _MEDIA:
            self._media(about)
        elif kind == "meeting_notes":
            self.put(f"<p><strong>{rich(about.get('title'))}</strong></p>")
            inner = mapping(about.get("children"))
            for part in ("summary_block_id", "notes_block_id"):  # skip the transcript
                if inner.get(part):
                    self.hold(plain_id(inner[part]), depth + 1)
        elif kind == "synced_block":
            self._synced(block, depth)
        elif kind == "divider":
            self.put("<hr>")
        elif kind not in _NOTHING:
            if kind not in _HOLDING:
                self.unread[word(about.get("block_type") or kind)] = None
                self.put(f"<p>{text}</p>" if text else "")
            self._inner(block, depth)

    def _held(self, at: str, depth: int) -> Iterator[Block]:
        self._holders += 1
        if self._holders > _HOLDERS or depth > _DEPTH:
            raise ValueError(f"more than {_HOLDERS:,} blocks with others in them, or {_DEPTH} deep")
        for block in self._children(at):
            self._blocks += 1
            if self._blocks > _BLOCKS:
                raise ValueError(f"more than {_BLOCKS:,} blocks")
            yield block

    def _inner(self, block: Block, depth: int) -> None:
        if block.get("has_children") is True:
            self.hold(plain_id(block.get("id")), depth + 1)

    def _synced(self, block: Block, depth: int) -> None:
        """Append a synced copy's original content, which may be deleted, or not shared with the
        token."""
        start = len(self._parts)
        try:
            self._inner(block, depth)
        except ServiceRefused as error:
            if not error.is_gone or not mapping(block.get("synced_block")).get("synced_from"):
                raise
            del self._parts[start:]  # an unclosed list would enclose the rest of the page
            self.unread["synced_block"] = None

    def _code(self, about: Block) -> None:
        text = html.escape(plain(about.get("rich_text")))
        language = str(about.get("language") or "").replace(" ", "")
        named = f' data-lang="{language}"' if _LANGUAGE.fullmatch(language) else ""
        caption = rich(about.get("caption"))
        self.put(f"<pre{named}>{text}</pre>" + (caption and f"<p>{caption}</p>"))

    def _table(self, block: Block, about: Block, depth: int) -> None:
        self.put("<table>")
        tag = "th" if about.get("has_column_header") is True else "td"
        for row in self._held(plain_id(block.get("id")), depth + 1):
            cells = listed(mapping(row.get("table_row")).get("cells"))
            self.put("<tr>" + "".join(f"<{tag}>{rich(cell)}</{tag}>" for cell in cells) + "</tr>")
            tag = "td"
        self.put("</table>")

    def _media(self, about: Block) -> None:
        """Append a caption or name, with its link. Omits addresses of files in Notion, which give
        anyone access for an hour."""
        address = about.get("url") or mapping(about.get("external")).get("url") or ""
        shown = rich(about.get("caption")) or html.escape(str(about.get("name") or address))
        if shown:
            self.put(f"<p>{_link(str(address), shown) if address else shown}</p>")


def rich(items: Any) -> str:
    """The HTML of rich text."""
    return "".join(_rich(mapping(item)) for item in listed(items))


def _rich(item: Mapping[str, Any]) -> str:
    text = html.escape(_plain(item)).replace("\n", "<br>")
    if not text.strip():
        return text
    marks = mapping(item.get("annotations"))
    for name, tag in _MARKS.items():
        if marks.get(name) is True or (tag == "code" and item.get("type") == "equation"):
            text = f"<{tag}>{text}</{tag}>"
    target = item.get("href")
    if not isinstance(target, str) or not target:
        return text
    # Links within the workspace have no host.
    return _link(HOME + target if target.startswith("/") else target, text)


def plain(items: Any) -> str:
    """The text of rich text."""
    return "".join(_plain(mapping(item)) for item in listed(items))


def _plain(item: Mapping[str, Any]) -> str:
    text = item.get("plain_text") or mapping(item.get("equation")).get("expression") or ""
    return "\n".join(str(text).split("\r"))  # HTML treats it as a line end, too


def _link(address: str, shown: str) -> str:
    return f'<a href="{html.escape(address)}">{shown}</a>'


def relations(value: Mapping[str, Any]) -> list[str]:
    """The ids of pages that a property value relates to."""
    return [plain_id(mapping(page).get("id")) for page in listed(value.get("relation"))]


def value(about: Mapping[str, Any]) -> str:
    """A property value, or a formula's or rollup's, as readers see it; empty for a relation.

    https://developers.notion.com/reference/page-property-values
    """
    kind = str(about.get("type"))
    content = about.get(kind)
    match kind:
        case "title" | "rich_text":
            return plain(content)
        case "select" | "status":
            return str(mapping(content).get("name") or "")
        case "multi_select" | "people" | "files":
            names = (str(mapping(item).get("name") or "") for item in listed(content))
            return ", ".join(filter(None, names))
        case "created_by" | "last_edited_by" | "place":
            return str(mapping(content).get("name") or "")
        case "date":
            ends = (mapping(content).get(end) for end in ("start", "end"))
            return " to ".join(str(end) for end in ends if end)
        case "checkbox" | "boolean":
            return {True: "yes", False: "no"}.get(content, "") if isinstance(content, bool) else ""
        case "unique_id":
            parts = (mapping(content).get(part) for part in ("prefix", "number"))
            return "-".join(str(part) for part in parts if part is not None)
        case "formula" | "rollup":
            inner = mapping(content)
            return "" if inner.get("type") in ("formula", "rollup") else value(inner)
        case "array":
            return ", ".join(filter(None, _values(listed(content))))
        case "number" | "string" | "url" | "email" | "phone_number" | "created_time":
            return str(content) if isinstance(content, str | int | float) else ""
        case "last_edited_time":
            return ""  # in a table, it would turn each edit into a change of the whole database
    return ""


def _values(items: Iterable[Any]) -> Iterator[str]:
    for item in items:
        about = mapping(item)
        if about.get("type") not in ("array", "formula", "rollup"):
            yield value(about)
