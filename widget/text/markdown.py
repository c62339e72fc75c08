"""Renders Markdown from a model or a page as safe HTML.

The parser does not accept raw HTML, links are checked individually, and the result is sanitised
again by an allow-list, so that each layer catches mistakes of the one before.
"""

import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from urllib.parse import urljoin, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape
from pygments import format as formatted
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from widget.access.origins import web_address, within
from widget.text import dialect

MAX_HIGHLIGHTED = 10_000  # characters; highlighting is not worth more than a few milliseconds
# Of CPU time: for many languages, Pygments takes 4 s for 10,000 line ends or brackets.
HIGHLIGHTING_S = 0.1

TAGS = {
    *("p", "br", "hr", "blockquote", "pre", "code", "span", "em", "strong", "s", "a", "img"),
    "sup",
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
    "sup": {"class"},
    "table": {"tabindex"},
    "th": {"class"},
    "td": {"class"},
}

_cleaner = nh3.Cleaner(
    tags=TAGS,
    attributes=ATTRIBUTES,
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener nofollow",
)

# Suffixes of a wiki's source files, whose paths are not page URLs.
SOURCE_FILES = (".md", ".mdx", ".markdown", ".rst")

# Marks on their way through the parser: ⁅2⁆ is a source, ⁅+0⁆ and ⁅-0⁆ delimit a flaw. The brackets
# are punctuation, so that they do not end emphasis; those in the text are replaced first.
_MARK = re.compile("⁅([+-]?\\d+)⁆")
_LINE_END = re.compile(r"\r\n?|\n")  # as in the parser
_STRAY = re.compile("(?:⁅|%E2%81%85)(?:[+-]|%2B)?\\d+(?:⁆|%E2%81%86)")
_BRACKETS = str.maketrans("⁅⁆", "()")
# Lines that change their meaning with a mark at the end: fences, rules, table delimiter rows.
_SYNTAX = re.compile(r"\n[ >]*+(?:`{3,}|~{3,}|[|:*_=-][ |:*_=-]*+|(?<= ))$")
# Block prefixes of a line, after which a flaw may begin.
_PREFIX = re.compile(r"(?:[ \t]|>|(?:[-*+]|\d{1,9}[.)]|#{1,6})[ \t]|\[[ xX]\][ \t]|\|)*")
# From inside a sentence to its end, or to the end of its line.
_REST = re.compile(r"[^\n]*?(?:[.!?][\"'”’)\]*_`]*(?=\s|$)|[。！？]|(?=\n|$))")
_ENDED = re.compile(r"[.!?:;。！？|][\"'”’)\]*_`~]*$")
_WHY = re.compile(r'(?<=<span class="why">)\d+(?=</span>)')
_CITED = re.compile(r'(?<=<sup class="cite">)\d+(?=</sup>)')


def render(
    text: str,
    *,
    origins: Sequence[str] = (),
    base: str = "",
    images: bool = False,
    cites: Sequence[tuple[int, int]] = (),
    mark: Callable[[str], Markup] = escape,
    flaws: Sequence[tuple[int, int]] = (),
    why: Callable[[int], Markup] = lambda _: Markup(),
    page: bool = False,
) -> Markup:
    """Render the text as HTML.

    `base` is the base URL of relative links; without it they become plain text. Links into
    `origins` replace the wiki page, others open a tab. Images are shown only if the text is from a
    page, or the image from one of the origins: a model could make up an image URL that carries the
    question to a stranger. `cites` are pairs of a position in the text and a source number; `mark`
    renders a number as HTML. `flaws` are parts of the text to underline; `why` renders the reason
    after the n-th. `page`: the text is from a page and may use wiki extensions of Markdown.
    """
    text = text.translate(_BRACKETS)

    def parsed(cites: Sequence[tuple[int, int]], flaws: Sequence[tuple[int, int]]) -> str:
        marked = dialect.plain(_with_all_marks(text, cites, flaws), page=page)
        tokens = _parser.parse(marked, {"flaws": bool(flaws)})
        return _rendered(tokens, tuple(origins), base, images)

    safe = parsed(cites, flaws)
    if cites or flaws:
        bare = parsed((), ())

        def is_whole(html: str) -> bool:
            numbers = [int(number) for number in _WHY.findall(html)]
            return sorted(numbers) == [*range(len(flaws))] and _words(html) == _words(bare)

        if not is_whole(safe):  # a mark broke the Markdown around it
            safe = parsed(cites, [(end, end) for _, end in flaws])
        if not is_whole(safe):
            notes = [f'<span class="why">{number}</span>' for number in range(len(flaws))]
            safe = f"{bare}<p>{' '.join(notes)}</p>\n" if notes else bare
    # The pattern cannot occur in an attribute, where quotes are escaped, or come from the text,
    # where tags are escaped.
    marked = _CITED.sub(lambda match: mark(match[0]), safe)
    return Markup(_WHY.sub(lambda match: why(int(match[0])), marked))  # noqa: S704  # sanitised


def _words(html: str) -> str:
    """The text of the Markdown, without the marks."""
    unmarked = re.sub(r'<span class="why">\d+</span>|<sup class="cite">\d+</sup>', "", html)
    return "".join(re.sub(r"<[^<>]*>", "", unmarked).split())


class Growing:
    """Renders a growing text: each block once when it is complete, the last block every time.

    Like `render` with only `origins`, except that reference links may stay plain until `render`
    gets the whole text.
    """

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self._origins = tuple(origins)
        self._finished = 0  # characters
        self._html = ""

    def render(self, text: str) -> Markup:
        """HTML for the text, which must begin with the previous text."""
        rest = text[self._finished :]
        tokens = _parser.parse(rest.translate(_BRACKETS))
        lines = [0, *(line_end.end() for line_end in _LINE_END.finditer(rest))]
        # A block whose first line is complete (for a table the second, too) can no longer join the
        # preceding block.
        begun = [
            (lines[token.map[0]], index)
            for index, token in enumerate(tokens)
            if token.level == 0 and token.map
            if token.map[0] + 1 + (token.type == "table_open") < len(lines)
        ]
        end, index = begun[-1] if begun else (0, 0)
        self._finished += end
        self._html += self._rendered(tokens[:index])
        return Markup(self._html + self._rendered(tokens[index:]))  # noqa: S704  # sanitised

    def _rendered(self, tokens: list[Token]) -> str:
        return _rendered(tokens, self._origins, "", False) if tokens else ""


def _rendered(tokens: list[Token], origins: tuple[str, ...], base: str, images: bool) -> str:
    """Sanitised HTML of blocks."""
    adjusted = list(_adjusted(tokens, origins, base, images))
    return _STRAY.sub("", _cleaner.clean(_parser.renderer.render(adjusted, _parser.options, {})))


def paragraphs(text: str) -> list[str]:
    """The prose of a Markdown text as shown to readers: no headings, tables or code blocks."""
    tokens = _reader.parse(text)
    return [
        "".join(_seen(child) for child in token.children or ()).strip()
        for before, token in itertools.pairwise(tokens)
        if before.type == "paragraph_open"
    ]


def _seen(token: Token) -> str:
    return " " if token.type.endswith("break") else "" if token.type == "image" else token.content


def target(url: str, origins: Sequence[str]) -> str:
    """The target of a link: the wiki's own pages in the whole window, others in a new tab."""
    return "_top" if within(url, tuple(origins)) else "_blank"


def _highlighted(code: str, language: str, _attributes: str) -> str:
    if len(code) > MAX_HIGHLIGHTED or not language:
        return ""  # plain, escaped by the renderer
    lexer = _lexer(language)
    if lexer is None:
        return ""
    tokens = []
    end = time.thread_time() + HIGHLIGHTING_S
    for token in lexer.get_tokens(code):
        tokens.append(token)
        if time.thread_time() > end:
            return ""
    return str(formatted(tokens, _formatter))


@lru_cache(maxsize=64)  # models make up names; Pygments tries all lexers for an unknown one
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return None


_formatter = HtmlFormatter(nowrap=True)


def _markdown() -> MarkdownIt:
    options = {"html": False, "highlight": _highlighted}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"])


def _lines(state: StateCore) -> None:
    """Replaces the parser's rule for inline content."""
    for token in state.tokens:
        if token.type != "inline":
            continue
        if "[" in token.content or "<" in token.content or state.env.get("flaws"):
            token.children = []
            state.md.inline.parse(token.content, state.md, state.env, token.children)
        else:
            token.children = [Token("html_inline", "", 0, content=_line(token.content))]


@lru_cache(maxsize=4096)  # while an answer grows, all but its last lines are unchanged
def _line(text: str) -> str:
    """HTML of inline text without links, which is the same in every text."""
    (token,) = _reader.parseInline(text)
    token.children = list(_inline(token.children or [], (), "", False, set()))
    return str(_reader.renderer.render([token], _reader.options, {}))


_reader = _markdown()
_blocks = _markdown().disable("inline")
_parser = _markdown()
_parser.core.ruler.at("inline", _lines)


def with_marks(text: str, cites: Sequence[tuple[int, int]]) -> str:
    """Insert ⁅numbers⁆ at these positions, or close by where Markdown allows it."""
    places = [(_place(text, end), number) for end, number in cites]
    for place, number in sorted(places, reverse=True):
        text = f"{text[:place]}⁅{number}⁆{text[place:]}"
    return text


def _with_all_marks(
    text: str, cites: Sequence[tuple[int, int]], flaws: Sequence[tuple[int, int]]
) -> str:
    """The text with the marks of sources and flaws, none of them in code."""
    if not cites and not flaws:
        return text
    code = _blocks_of_code(text)

    def outside(place: int) -> int:
        return next((begin for begin, end in code if begin < place <= end), place)

    marks: list[tuple[int, int, str]] = []
    for end, number in cites:
        place = outside(_place(text, _sentence_end(text, end)))
        if text[:place].strip():  # else only code: its source is shown below it
            marks.append((place, 1, f"⁅{number}⁆"))
    for number, (start, end) in enumerate(flaws):
        line = text.rfind("\n", 0, start) + 1
        prefix = _PREFIX.match(text, line)
        begin = max(start, prefix.end() if prefix else line)
        place = outside(_place(text, max(end, begin)))
        if outside(begin) == begin < place:
            marks.append((begin, 2, f"⁅+{number}⁆"))
        marks.append((place, 0, f"⁅-{number}⁆" if place else f"⁅-{number}⁆\n\n"))
    for place, _, mark in sorted(dict.fromkeys(marks), reverse=True):
        text = f"{text[:place]}{mark}{text[place:]}"
    return text


def _blocks_of_code(text: str) -> list[tuple[int, int]]:
    """Ranges of code blocks, each from the end of the preceding text."""
    if "```" not in text and "~~~" not in text and "    " not in text and "\t" not in text:
        return []
    lines = [0, *(line_end.end() for line_end in _LINE_END.finditer(text)), len(text)]
    return [
        (len(text[: lines[token.map[0]]].rstrip()), lines[min(token.map[1], len(lines) - 1)])
        for token in _blocks.parse(text)
        if token.type in ("fence", "code_block") and token.map
    ]


def _sentence_end(text: str, end: int) -> int:
    """The end of the sentence around `end`, or `end` if it already ends a sentence."""
    if _ENDED.search(text[max(0, end - 40) : end].rstrip()):
        return end
    rest = _REST.match(text, end)
    return rest.end() if rest else end


def _place(text: str, end: int) -> int:
    """The position at or near `end` where a mark breaks nothing."""
    end += len(text[end:]) - len(text[end:].lstrip("`~*_|"))  # not inside a fence or emphasis
    place = _stripped(text, min(end, len(text)))
    while (line := text.rfind("\n", 0, place)) >= 0 and _SYNTAX.match(text, line, place):
        place = _stripped(text, line)
    row = text[line + 1 : place].strip()
    is_row = len(row) > 1 and row.startswith("|") and row.endswith("|")
    return place - is_row


def _stripped(text: str, end: int) -> int:
    """The end of `text[:end].rstrip()`, without a copy of the text."""
    while end and text[end - 1].isspace():
        end -= 1
    return end


def _block_of_code(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    kind = renderer.fence if tokens[index].type == "fence" else renderer.code_block
    html = kind(tokens, index, options, env)
    return '<pre tabindex="0">' + html.removeprefix("<pre>")  # wide blocks scroll, also by keyboard


for _kind in ("fence", "code_block"):
    _parser.add_render_rule(_kind, _block_of_code)


def _adjusted(
    tokens: list[Token], origins: tuple[str, ...], base: str, images: bool
) -> Iterator[Token]:
    flaws: set[str] = set()  # flaws that are open
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            # These headings are below the question's h2.
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        elif token.type == "table_open":
            token.attrSet("tabindex", "0")  # for scrolling wide tables by keyboard
        elif token.type in ("th_open", "td_open"):
            # Our content security policy forbids style attributes.
            style = str(token.attrs.pop("style", ""))
            if style:
                token.attrSet("class", style.removeprefix("text-align:"))
        elif token.type in ("fence", "code_block"):
            token.content = _MARK.sub("", token.content)
        elif token.children:
            token.children = list(_inline(token.children, origins, base, images, flaws))
        yield token


def _within(tag: str, name: str, token: Token) -> Iterator[Token]:
    yield Token(f"{tag}_open", tag, 1, attrs={"class": name})
    yield token
    yield Token(f"{tag}_close", tag, -1)


def _marked(content: str, flaws: set[str], is_link: bool) -> Iterator[Token]:
    """A piece of text with its marks."""
    for position, part in enumerate(_MARK.split(content)):
        if not position % 2:
            text = Token("text", "", 0, content=part)
            yield from _within("span", "flaw", text) if flaws and part.strip() else (text,)
        elif part.startswith("+"):
            flaws.add(part[1:])
        elif part.startswith("-"):
            flaws.discard(part[1:])
            yield from _within("span", "why", Token("text", "", 0, content=part[1:]))
        elif not is_link:
            yield from _within("sup", "cite", Token("text", "", 0, content=part))


def _inline(
    children: list[Token],
    origins: tuple[str, ...],
    base: str,
    images: bool,
    flaws: set[str],
) -> Iterator[Token]:
    links: list[bool] = []  # for each open link, whether it was kept
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
        elif token.type == "text":
            yield from _marked(token.content, flaws, any(links))
        elif token.type == "code_inline" and flaws:
            yield from _within("span", "flaw", token)
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
    """The absolute URL, or an empty string if it is not a valid target."""
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
