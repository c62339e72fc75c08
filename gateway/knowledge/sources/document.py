"""Parses an HTML document: decodes the text, builds the tree as a browser does, reads the head.

The tree is Lexbor's, by way of selectolax: it follows the HTML standard, as browsers do, so an
anchor is where a browser finds it however broken the markup is.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from selectolax.lexbor import LexborHTMLParser, LexborNode

# The marks that readers of a tree put into its text; they cannot be in it before.
OPEN, CLOSE = "\U0010f000", "\U0010f001"
_RESERVED = re.compile("[\U0010f000-\U0010f1ff\ud800-\udfff\0]")
# Browsers stop at 512, and lay deeper elements beside each other.
DEEPEST = 256
_TOO_DEEP = " > ".join(["*"] * (DEEPEST + 3))
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"))
# The parser's time grows with the square of the depth: this much takes it a tenth of a second.
_HOPELESS = 5_000
_TAGS = re.compile(r"<(/?)([a-zA-Z]+)")
# Elements that never hold another, or that the next of their kind ends.
_UNNESTED = frozenset(
    """area base br col embed hr img input link meta param source track wbr path
    p li dt dd tr td th tbody thead option""".split()  # noqa: SIM905
)
_BODY = re.compile(rb"<body(?:\s[^>]*)?>", re.IGNORECASE)
_REFRESH = re.compile(r"""\s*(\d+)[\d.]*\s*[;,]?\s*(?:url\s*=)?\s*['"]?([^'"]+)""", re.IGNORECASE)
SPECIAL = "special page of MediaWiki"
# A page that goes elsewhere later than this is a page, and not a sign-post.
_SOON = 10


@dataclass(frozen=True)
class Head:
    """What a document says about itself."""

    title: str
    """The text of `<title>`."""
    canonical: str
    """The address that the page wants to be known by; empty where it names none."""
    base: str
    """What relative links are relative to: `<base href>`, else the document's address."""
    refresh: str
    """The address of the page that a reader is sent on to at once; empty for a page."""
    noindex: bool
    """Search engines are asked to leave the page out."""
    nofollow: bool
    """They are asked not to follow its links."""
    site_name: str
    """The name of the site, which generators append to every title."""
    special: bool
    """MediaWiki made it by itself: a search, a list of files."""

    @property
    def no_page(self) -> str:
        """Why the document is no page of a wiki; empty for a page."""
        if self.special:
            return SPECIAL
        if self.refresh:
            return "leads to another page"
        return "marked noindex" if self.noindex else ""


def decode(data: bytes, charset: str = "") -> str:
    """The text of a document; what is no text in its encoding becomes U+FFFD.

    Args:
        data: as it was served or stored.
        charset: what the server says, which counts more than what the document says.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return scrubbed(data[len(mark) :].decode(encoding, "replace"))
    if named := map_encoding_to_html5(charset, False) if charset else None:
        return scrubbed(data.decode(named, "replace"))
    encoding = detect_encoding(data, from_html_meta=True) or "utf-8"
    if encoding != "utf-8":
        # Few words beside much markup mislead a detector; text that is valid UTF-8 is UTF-8.
        declared = re.search(rb"charset\s*=", data[:4096], re.IGNORECASE)
        try:
            return scrubbed(data.decode(encoding if declared else "utf-8"))
        except UnicodeDecodeError:
            pass
    return scrubbed(data.decode(encoding, "replace"))


def scrubbed(text: str) -> str:
    """`text` without what no document holds: NUL, lone surrogates, and this package's marks."""
    return _RESERVED.sub("\ufffd", text)


def parse(text: str) -> LexborHTMLParser:
    """The tree of a document (see `scrubbed`), no deeper than DEEPEST.

    Raises:
        ValueError: there is no document in it, or one that is nested beyond reason.
    """
    nesting = _nesting(text)
    if nesting > _HOPELESS:
        raise ValueError(f"its elements are nested more than {_HOPELESS:,} deep")
    tree = LexborHTMLParser(text)
    if tree.body is None:
        raise ValueError("no body: it is a frameset, or no HTML")
    # A cell of a table is four levels, of which one is counted; to look is a fifth of the time.
    if nesting * 4 > DEEPEST and tree.css_first(_TOO_DEEP) is not None:
        _flatten(tree.body)
    return tree


def head_of(data: bytes, url: str) -> Head:
    """The head of a document, without parsing what is in its body. See `head`."""
    body = _BODY.search(data)
    return head(LexborHTMLParser(decode(data[: body.end()] if body else data)), url)


def head(tree: LexborHTMLParser, url: str) -> Head:
    """What the document at the address `url` says about itself."""
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
    """The addresses that the document links to, without anchors; those marked nofollow left out."""
    for element in tree.css("a[href], area[href]"):
        if "nofollow" not in attribute(element, "rel").lower().split():
            yield urldefrag(join(base, attribute(element, "href"))).url


def join(base: str, target: str) -> str:
    """`urljoin`, which gives nothing where it would raise: for a target that is no address."""
    try:
        return urljoin(base, re.sub(r"[\t\n\r]", "", target.strip()))
    except ValueError:
        return ""


def attribute(element: LexborNode, name: str) -> str:
    """The value of an attribute; empty where there is none."""
    return element.attrs.sget(name)


def _nesting(text: str) -> int:
    """About how deep the elements of `text` are nested, at its deepest."""
    depth = deepest = 0
    for end, name in _TAGS.findall(text):
        if name.lower() in _UNNESTED:
            continue
        if not end:
            depth += 1
            if depth > deepest:
                deepest = depth
        elif depth:
            depth -= 1
    return deepest


def _flatten(body: LexborNode) -> None:
    """Put the text of what is nested deeper than DEEPEST in its place."""
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
