"""Markdown from a model or a page, as HTML that is safe in our page.

Raw HTML is not understood by the parser, links are judged one by one, and what comes out is
sanitised once more by an allow-list, so that a mistake in one layer is caught by the next.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import urljoin, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from widget.origins import web_address, within

MAX_HIGHLIGHTED = 10_000  # characters; colouring is not worth more than a few milliseconds

TAGS = {
    *("p", "br", "hr", "blockquote", "pre", "code", "span", "em", "strong", "s", "a", "img"),
    *("ul", "ol", "li", "h3", "h4", "h5", "h6"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {
    "a": {"href", "title", "target"},
    "img": {"src", "alt", "title", "loading", "referrerpolicy"},
    "ol": {"start"},
    "code": {"class"},
    "span": {"class"},
    "pre": {"tabindex"},
    "table": {"tabindex"},
    "th": {"class"},
    "td": {"class"},
}

# The paths of a wiki's source files, which are not addresses of its pages.
SOURCE_FILES = (".md", ".mdx", ".markdown", ".rst")


def render(
    text: str, *, origins: Sequence[str] = (), base: str = "", images: bool = False
) -> Markup:
    """HTML for the text.

    `base` is the address that relative links start from; without one they become plain text.
    Links into `origins` replace the wiki page, others open a tab. Images are shown only where
    the text comes from a page, or the image from one of the origins: a model's image may be an
    address made up to carry the question to a stranger.
    """
    tokens = _parser.parse(text)
    _adjust(tokens, tuple(origins), base, images)
    html = _parser.renderer.render(tokens, _parser.options, {})
    return Markup(  # noqa: S704  # sanitised here
        nh3.clean(
            html,
            tags=TAGS,
            attributes=ATTRIBUTES,
            url_schemes={"http", "https", "mailto"},
            url_relative="deny",
            link_rel="noopener nofollow",
        )
    )


def target(url: str, origins: Sequence[str]) -> str:
    """Where a link opens: the wiki's own pages in the whole window, the rest in a new tab."""
    return "_top" if within(url, tuple(origins)) else "_blank"


def _highlighted(code: str, language: str, _attributes: str) -> str:
    if len(code) > MAX_HIGHLIGHTED or not language:
        return ""  # plain, escaped by the renderer
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return ""
    return str(highlight(code, lexer, _formatter))


_formatter = HtmlFormatter(nowrap=True)
_parser = MarkdownIt("commonmark", {"html": False, "highlight": _highlighted}).enable(
    ["table", "strikethrough"]
)


def _adjust(tokens: list[Token], origins: tuple[str, ...], base: str, images: bool) -> None:
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            # The question is the h2 that these stand under.
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        elif token.type == "table_open":
            token.attrSet("tabindex", "0")  # wide ones scroll, by keyboard too
        elif token.type in ("th_open", "td_open"):
            # Style attributes are forbidden by our content security policy.
            style = str(token.attrs.pop("style", ""))
            if style:
                token.attrSet("class", style.removeprefix("text-align:"))
        elif token.children:
            token.children = list(_inline(token.children, origins, base, images))


def _inline(
    children: list[Token], origins: tuple[str, ...], base: str, images: bool
) -> Iterator[Token]:
    links: list[bool] = []  # whether each link that is open was kept
    for token in children:
        if token.type == "link_open":
            url = _address(str(token.attrs.get("href", "")), base)
            links.append(bool(url))
            if url:
                token.attrSet("href", url)
                token.attrSet("target", target(url, origins))
                yield token
        elif token.type == "link_close":
            if links.pop():
                yield token
        elif token.type == "image":
            yield from _image(token, origins, base, images, inside_link=any(links))
        else:
            yield token


def _image(
    token: Token, origins: tuple[str, ...], base: str, images: bool, inside_link: bool
) -> Iterator[Token]:
    url = web_address(_address(str(token.attrs.get("src", "")), base))
    if url and (images or within(url, origins)):
        token.attrSet("src", url)
        token.attrSet("loading", "lazy")
        token.attrSet("referrerpolicy", "no-referrer")
        yield token
        return
    label = Token("text", "", 0, content=token.content or "image")
    if not url or inside_link:
        yield label
        return
    yield Token("link_open", "a", 1, attrs={"href": url, "target": target(url, origins)})
    yield label
    yield Token("link_close", "a", -1)


def _address(href: str, base: str) -> str:
    """The absolute address, or an empty string when it is none that a reader can be sent to."""
    try:
        scheme = urlsplit(href).scheme.lower()
        if scheme == "mailto":
            return href
        if not scheme and not href.startswith("//"):
            path = urlsplit(href).path.lower()
            if not base or path.endswith(SOURCE_FILES):
                return ""
            href = urljoin(base, href)
    except ValueError:
        return ""
    return web_address(href)
