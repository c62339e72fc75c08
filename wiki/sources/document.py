"""Parses an HTML document: decodes the text, builds the tree as a browser does, reads the head.

The tree is Lexbor's, through selectolax: like browsers, it follows the HTML standard, so anchors
are where a browser finds them, however broken the markup is.
"""

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from selectolax.lexbor import LexborHTMLParser, LexborNode

# Marks that are inserted into the text of a tree; the original text cannot contain them.
OPEN, CLOSE = "\U0010f000", "\U0010f001"
_RESERVED = re.compile("[\U0010f000-\U0010f1ff\ud800-\udfff\0]")
# Browsers stop at 512, and place deeper elements side by side.
DEEPEST = 256
_TOO_DEEP = " > ".join(["*"] * (DEEPEST + 3))
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"))
# The parser's time is quadratic in the depth: this depth takes a tenth of a second.
_HOPELESS = 5_000
_TAGS = re.compile(r"<(/?)([a-zA-Z]+)")
# Elements that are never nested, or that end at the next one of their kind.
_UNNESTED = frozenset(
    """area base br col embed hr img input link meta param source track wbr path
    p tr td th tbody thead option""".split()  # noqa: SIM905
)
# Each of these ends at the next of its kind, and is nested in the other kind: `<dt><li><dt>`.
_ITEMS = {"li": "li", "dt": "dt", "dd": "dt"}
_BODY = re.compile(rb"<body(?:\s[^>]*)?>", re.IGNORECASE)
_REFRESH = re.compile(r"""\s*(\d+)[\d.]*\s*[;,]?\s*(?:url\s*=)?\s*['"]?([^'"]+)""", re.IGNORECASE)
SPECIAL = "special page of MediaWiki"
# A redirect after more than this many seconds does not stop it from being a page.
_SOON = 10


@dataclass(frozen=True)
class Head:
    """Metadata of a document."""

    title: str
    """The text of `<title>`."""
    canonical: str
    """The page's canonical address; empty if it names none."""
    base: str
    """The base of relative links: `<base href>`, or else the document's address."""
    refresh: str
    """The address to which readers are redirected at once; empty for a page."""
    noindex: bool
    """Are search engines asked to exclude the page?"""
    nofollow: bool
    """Are they asked not to follow its links?"""
    site_name: str
    """The name of the site, which generators append to every title."""
    special: bool
    """Is it a special page of MediaWiki, such as a search or a list of files?"""

    @property
    def no_page(self) -> str:
        """The reason why the document is not a page of a wiki; empty for a page."""
        if self.special:
            return SPECIAL
        if self.refresh:
            return "leads to another page"
        return "marked noindex" if self.noindex else ""


def decode(data: bytes, charset: str = "") -> str:
    """Decodes a document; invalid bytes become U+FFFD.

    Args:
        data: the bytes as served or stored.
        charset: from the server, which takes precedence over the document's own.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return scrubbed(data[len(mark) :].decode(encoding, "replace"))
    if named := map_encoding_to_html5(charset, False) if charset else None:
        return scrubbed(data.decode(named, "replace"))
    encoding = detect_encoding(data, from_html_meta=True) or "utf-8"
    if encoding != "utf-8":
        # A few words among much markup mislead a detector; valid UTF-8 is UTF-8.
        declared = re.search(rb"charset\s*=", data[:4096], re.IGNORECASE)
        try:
            return scrubbed(data.decode(encoding if declared else "utf-8"))
        except UnicodeDecodeError:
            pass
    return scrubbed(data.decode(encoding, "replace"))


def scrubbed(text: str) -> str:
    """Removes characters that no document contains: NUL, lone surrogates, and this package's
    marks."""
    return _RESERVED.sub("\ufffd", text)


def parse(text: str) -> LexborHTMLParser:
    """Parses a document (see `scrubbed`) into a tree no deeper than DEEPEST.

    Raises:
        ValueError: it is empty, or nested too deeply.
    """
    nesting = _nesting(text)
    if nesting > _HOPELESS:
        raise ValueError(f"its elements are nested more than {_HOPELESS:,} levels deep")
    tree = LexborHTMLParser(text)
    if tree.body is None:
        raise ValueError("no body: it is a frameset, or not HTML")
    # A table cell is four levels deep, of which one is counted; the check takes a fifth of the
    # time.
    if nesting * 4 > DEEPEST and tree.css_first(_TOO_DEEP) is not None:
        _flatten(tree.body)
    return tree


def head_of(data: bytes, url: str) -> Head:
    """The metadata of a document, without parsing its body. See `head`."""
    body = _BODY.search(data)
    return head(LexborHTMLParser(decode(data[: body.end()] if body else data)), url)


def head(tree: LexborHTMLParser, url: str) -> Head:
    """The metadata of the document at `url`."""
    base = url
    canonical = refresh = site_name = ""
    robots = ""
    if (element := tree.css_first("base[href]")) is not None:
        base = join(url, attribute(element, "href")) or url
    if (element := tree.css_first("link[rel~=canonical i][href]")) is not None:
        canonical = urldefrag(join(base, attribute(element, "href"))).url
    for element in tree.css("meta[content]"):
        name = attribute(element, "name").lower() or attribute(element, "property").lower()
        content = attribute(element, "content")
        if name in ("robots", "askdocs"):
            robots += "," + content.lower()
        elif name in ("og:site_name", "application-name"):
            site_name = site_name or " ".join(content.split())
        elif attribute(element, "http-equiv").lower() == "refresh":
            match = _REFRESH.match(content)
            if match and int(match[1][:9]) <= _SOON:
                refresh = urldefrag(join(base, match[2].strip())).url
    title = tree.css_first("title")
    directives = {word.strip() for word in robots.split(",")}
    return Head(
        title=" ".join(title.text().split()) if title is not None else "",
        canonical=canonical,
        base=base,
        refresh=refresh if refresh != urldefrag(url).url else "",
        noindex=bool(directives & {"noindex", "none"}),
        nofollow=bool(directives & {"nofollow", "none"}),
        site_name=site_name,
        special=tree.css_first("body.ns-special") is not None,
    )


def links(tree: LexborHTMLParser, base: str) -> Iterator[str]:
    """Yields the addresses that the document links to, without anchors and nofollow links."""
    for element in tree.css("a[href], area[href]"):
        if "nofollow" not in attribute(element, "rel").lower().split():
            yield urldefrag(join(base, attribute(element, "href"))).url


def join(base: str, target: str) -> str:
    """`urljoin`, but returns an empty string where it would raise, for an invalid address."""
    try:
        return urljoin(base, re.sub(r"[\t\n\r]", "", target.strip()))
    except ValueError:
        return ""


def attribute(element: LexborNode, name: str) -> str:
    """The value of an attribute; empty if it is missing."""
    return element.attrs.sget(name)


def _nesting(text: str) -> int:
    """The approximate maximum nesting depth of the elements in `text`."""
    above: list[str] = []
    count: Counter[str] = Counter()
    deepest = 0
    for end, tag in _TAGS.findall(text):
        name = tag.lower()
        if name in _UNNESTED:
            continue
        name = _ITEMS.get(name, name)
        if not end:
            if name in _ITEMS and above and above[-1] == name:
                continue  # it ends the item before
            above.append(name)
            count[name] += 1
            deepest = max(deepest, len(above))
        elif count[name]:
            while (last := above.pop()) != name:
                count[last] -= 1
            count[name] -= 1
    return deepest


def _flatten(body: LexborNode) -> None:
    """Replace elements nested deeper than DEEPEST with their text."""
    deep: list[LexborNode] = []
    node: LexborNode = body
    depth = 0
    while True:
        below = node.first_child
        if depth == DEEPEST:
            deep.append(node)
        elif below is not None:
            node, depth = below, depth + 1
            continue
        while (beside := node.next) is None and depth > 0:
            assert node.parent is not None
            node, depth = node.parent, depth - 1
        if beside is None or depth <= 0:
            break
        node = beside
    for node in deep:
        if node.is_element_node:
            for unseen in node.css("script, style, template"):
                unseen.decompose()
            node.replace_with(f" {node.text(separator=' ')} ")
