"""The anchors of an HTML page: the target that a browser scrolls to for a section's heading."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from selectolax.lexbor import LexborHTMLParser, LexborNode

from wiki.sources.document import attribute

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
# Symbols of a heading's permalink, next to its text.
_PERMALINK = re.compile(
    r"[\s¶#§🔗\u200b\ufeff\uf0c1\uf470]*|permalink|(direct )?link to .*|copy link|anchor",
    re.IGNORECASE | re.DOTALL,
)
_PERMALINKS = (
    ".headerlink, .header-anchor, .hash-link, .anchorjs-link, .permalink, .heading-link, a.anchor"
)
# In lists, quotes and tables, a heading is part of the content, and starts no section.
_INSIDE = frozenset(("li", "dd", "blockquote", "td", "th", "figure"))
# Elements that may have an ID, but are not visible.
_UNSEEN = frozenset(("input", "script", "style", "template", "link", "meta", "map", "datalist"))


@dataclass(frozen=True)
class Heading:
    """A heading that starts a section."""

    element: LexborNode
    level: int
    """1 to 6."""
    text: str
    """The text as a reader sees it."""
    anchor: str
    """The heading's anchor, or else the nearest one above; empty if there is none."""


class Anchors:
    """The anchors of a document as a browser finds them: of several elements, the first one
    counts."""

    def __init__(self, tree: LexborHTMLParser) -> None:
        """
        Args:
            tree: the whole document, before anything is removed.
        """
        self._first: dict[str, int] = {}
        for element in tree.css("[id]"):
            self._first.setdefault(attribute(element, "id"), element.mem_id)
        for element in tree.css("a[name]"):
            self._first.setdefault(attribute(element, "name"), element.mem_id)

    def of(self, element: LexborNode) -> str:
        """The anchor of this element; empty if it has none."""
        if element.tag in _UNSEEN:
            return ""
        names = [attribute(element, "id"), attribute(element, "name") if element.tag == "a" else ""]
        for name in names:
            if name and self._first.get(name) == element.mem_id:
                return name
        return ""

    def headings(self, content: LexborNode) -> list[Heading]:
        """Returns the headings in `content` that start a section, in order, and removes their
        permalinks.

        A heading without other text starts no section; its anchor applies to the text that follows.
        """
        headings: list[Heading] = []
        above = ""
        for element in list(content.traverse()):
            if element.mem_id == content.mem_id or not element.is_element_node:
                continue
            if not _is_heading(element) or _is_inside(element, content):
                above = self.of(element) or above
                continue
            anchor = self._near(element, content)
            without_permalinks(element)
            text = _text(element)
            above = anchor or above
            if text:
                headings.append(Heading(element, _level(element), text, escaped(above)))
        return headings

    def _near(self, heading: LexborNode, content: LexborNode) -> str:
        """The heading's own anchor, its permalink's, one in or just before it, or one that starts
        there."""
        if own := self.of(heading):
            return own
        for link in heading.css("a[href]"):
            target = attribute(link, "href")
            if target.startswith("#") and target[1:] in self._first and _is_permalink(link):
                return target[1:]
        inner = heading.css("[id], a[name]")
        # MediaWiki puts the legacy anchor first, in a span without text.
        for element in sorted(inner, key=lambda e: "mw-headline" not in attribute(e, "class")):
            if element.mem_id != heading.mem_id and (anchor := self.of(element)):
                return anchor
        node: LexborNode = heading
        while True:
            before = node.prev
            while before is not None and _is_blank(before):
                if before.is_element_node and (anchor := self._within(before)):
                    return anchor
                before = before.prev
            parent = node.parent
            if before is not None or parent is None or parent.mem_id == content.mem_id:
                break
            node = parent
            if anchor := self.of(node):
                return anchor
        return ""

    def _within(self, element: LexborNode) -> str:
        """The anchor of the last empty element in an element."""
        anchors = [self.of(inner) for inner in (element, *element.css("[id], a[name]"))]
        return next((anchor for anchor in reversed(anchors) if anchor), "")


def without_permalinks(element: LexborNode) -> None:
    """Remove the element's permalinks, which appear as a symbol."""
    for link in element.css(f"{_PERMALINKS}, a[href^='#'], a:not([href])"):
        if _is_permalink(link):
            link.decompose()


def escaped(anchor: str) -> str:
    """The anchor as a URL fragment: escapes characters that would end a URL within text."""
    return re.sub(r"[\s%\"<>\\^`{|}()]", lambda match: quote(match.group(), safe=""), anchor)


def _is_heading(element: LexborNode) -> bool:
    return element.tag in HEADINGS or attribute(element, "role") == "heading"


def _level(element: LexborNode) -> int:
    if element.tag in HEADINGS:
        return int(str(element.tag)[1])
    level = attribute(element, "aria-level")
    return min(int(level), 6) if re.fullmatch("[1-9]", level) else 2


def _is_inside(element: LexborNode, content: LexborNode) -> bool:
    parent = element.parent
    while parent is not None and parent.mem_id != content.mem_id:
        if parent.tag in _INSIDE or _is_heading(parent):
            return True
        parent = parent.parent
    return False


def _is_blank(node: LexborNode) -> bool:
    if node.is_element_node:
        return not node.text().strip() and node.tag not in ("img", "hr", "table")
    return not (node.text_content or "").strip() or node.is_comment_node


def _is_permalink(link: LexborNode) -> bool:
    # A link with only an anchor, without address and text, is invisible.
    text = link.text().strip()
    if not text:
        return link.css_first("img[alt]") is None
    return bool(_PERMALINK.fullmatch(text))


def _text(element: LexborNode) -> str:
    parts = []
    for node in element.traverse(include_text=True):
        if node.is_text_node:
            parts.append(node.text_content or "")
        elif node.tag == "img":
            parts.append(attribute(node, "alt"))
        elif node.tag in ("br", "p", "div"):
            parts.append(" ")
    return " ".join(re.sub("[\u200b\u00ad\ufeff]", "", "".join(parts)).split())
