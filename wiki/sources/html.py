"""Converts HTML pages to Markdown sections that start at the page's own anchors."""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import urljoin, urlsplit

from html_to_markdown import ConversionOptions, convert
from selectolax.lexbor import LexborHTMLParser, LexborNode

from wiki.pages.page import Page, Section
from wiki.sources.addresses import relative
from wiki.sources.anchors import (
    HEADINGS,
    Anchors,
    Heading,
    escaped,
    without_permalinks,
)
from wiki.sources.content import content
from wiki.sources.document import (
    CLOSE,
    OPEN,
    attribute,
    decode,
    head,
    join,
    parse,
    scrubbed,
)
from wiki.sources.sections import name
from wiki.sources.titles import Affixes

_OPTIONS = ConversionOptions(
    extract_metadata=False,
    compact_tables=True,  # otherwise the widest cell widens its whole column
    bullets="-",
    highlight_style="none",
    hidden_content="reachable",  # hidden elements have been removed, except tabs
    include_blockquote_citations=False,
)
_MARK = re.compile(f"{OPEN}(\\d+){CLOSE}")
_TERM = re.compile(f"{OPEN}t(\\d+){CLOSE}")
_END_OF_TERMS = f"{OPEN}e{CLOSE}"
# A term with one of these would be parsed as markup, so it is shown as code.
_MARKUP = re.compile(r"[-<>*_\[\]\\`=]")
# Titles of Confluence and MediaWiki pages, which are outside the content.
_TITLES = "#title-text, #firstHeading"
# A table that contains one of these is layout rather than data.
_ARRANGED = "h1, h2, h3, h4, table, td.code, td.rouge-code"
# DocBook and Asciidoctor lay out notes as tables: an icon or the note's name next to its text.
_NOTES = ("Note", "Tip", "Important", "Warning", "Caution")
# The note's name is a heading, but the text after the note does not belong to it.
_NAMES = ", ".join(f"div.{note.lower()} > {tag}.title" for note in _NOTES for tag in HEADINGS)
# Characters that end a line in Python, too.
_LINE_ENDS = dict.fromkeys(map(ord, "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), " ")
_ROWS = "caption, thead, tbody, tfoot, tr, td, th"
_SCHEMES = ("http", "https", "mailto", "tel", "ftp", "xmpp", "irc", "ircs", "sip", "news", "")
_LANGUAGE = re.compile(
    r"(?:^|\s)(?:language-|lang-|highlight-source-|highlight-|mw-highlight-lang-|brush:\s*)"
    r"([\w+#.-]+)"
)
_NO_LANGUAGE = ("default", "none", "text", "plain", "plaintext", "txt", "notranslate")


def page(
    data: bytes | str,
    path: str,
    url: str,
    *,
    served: str = "",
    charset: str = "",
    affixes: Affixes | None = None,
    resolve: Callable[[str], str] | None = None,
) -> Page:
    """Read one HTML page. A page without text has no sections.

    Args:
        data: the document; bytes are decoded with the document's own encoding.
        path: its path in the source.
        url: the address that answers link to.
        served: the base address of relative links, if different.
        charset: the encoding from the server.
        affixes: the site's additions to every title.
        resolve: maps the absolute address of a link to the address that readers should open.

    Raises:
        ValueError: it cannot be read as a page.
    """
    text = decode(data, charset) if isinstance(data, bytes) else scrubbed(data)
    tree = parse(text)
    about = head(tree, served or url)
    shown = tree.css_first(_TITLES)
    named = _words(shown) if shown is not None else ""
    outside = tree.css_first("h1")
    fallback = _words(outside) if outside is not None else ""
    anchors = Anchors(tree)
    main = content(tree, text)
    _lay_out(main)
    headings = anchors.headings(main)
    first = headings[0] if headings and headings[0].level == 1 else None
    affixes = affixes or Affixes()
    if about.site_name:
        affixes = affixes.of_site(about.site_name)
    title = (
        affixes.without(named)
        or (first.text if first else "")
        or affixes.without(about.title)
        or fallback
        or (headings[0].text if headings else "")
        or name(path if PurePosixPath(path).name else f"{path}index")
    )
    terms = _terms(main, anchors)
    without_permalinks(main)
    _mark(headings)
    _code(main)
    _join_lines(main)
    _link(main, about.base, url, resolve or (lambda address: address))
    markdown = convert(main.html or "", _OPTIONS).content or ""
    sections = _sections(markdown, headings, title, terms)
    return Page(path=path, title=title, url=url, sections=sections)


def _words(element: LexborNode) -> str:
    return " ".join(element.text().replace("¶", "").split())


def _lay_out(main: LexborNode) -> None:
    """Unwrap layout tables and collapsible headings, so that their content is in no cell. Turn the
    names of notes into text."""
    for named in main.css(_NAMES):
        named.insert_before(_block(_words(named)))
        named.decompose()
    for table in main.css("table"):
        inner = [part for part in table.css(_ARRANGED) if part.mem_id != table.mem_id]
        is_note = attribute(table, "summary").partition(":")[0] in _NOTES
        is_note |= (
            table.parent is not None
            and "admonitionblock" in attribute(table.parent, "class").split()
        )
        if is_note and (picture := table.css_first("td > img")) is not None:
            picture.decompose()
        if inner or is_note or attribute(table, "role") == "presentation":
            rows = [table]
            rows += [part for part in table.css(_ROWS) if _table_of(part) == table.mem_id]
            for part in rows:
                part.insert_before(_block())
                part.insert_after(_block())
            for part in rows:
                part.unwrap()
    for summary in main.css("summary"):
        if summary.css_first(", ".join(HEADINGS)) is not None:
            summary.unwrap()


def _table_of(part: LexborNode) -> int:
    parent = part.parent
    while parent is not None and parent.tag != "table":
        parent = parent.parent
    return parent.mem_id if parent is not None else 0


def _block(strong: str = "") -> LexborNode:
    """A block element, which separates the text before and after it."""
    inner = f"<strong>{html.escape(strong)}</strong>" if strong else ""
    block = LexborHTMLParser(f"<p>{inner}</p>").css_first("p")
    assert block is not None
    return block


def _mark(headings: Sequence[Heading]) -> None:
    """Put a mark on each heading that reappears in the Markdown."""
    for number, heading in enumerate(headings):
        for line_break in heading.element.css("br"):
            line_break.replace_with(" ")
        for link in heading.element.css("a[href^='#']"):
            link.unwrap()  # a link to the table of contents, or to itself
        below = heading.element.first_child
        mark = f"{OPEN}{number}{CLOSE}"
        if below is not None:
            below.insert_before(mark)


def _terms(main: LexborNode, anchors: Anchors) -> list[str]:
    """Make each term of a definition list a bold line, and mark the list's end; returns the
    anchors, by their marks.

    Terms with the same definition share a line.
    """
    ids: list[str] = []
    for first in main.css("dt"):
        if _dt_before(first) is not None or first.css_first(", ".join(HEADINGS)) is not None:
            continue
        names: list[str] = []
        anchor = ""
        term: LexborNode | None = first
        rest: list[LexborNode] = []
        while term is not None and term.tag == "dt":
            places = [term, *term.css("[id], a[name]")]
            anchor = anchor or next((own for place in places if (own := anchors.of(place))), "")
            without_permalinks(term)
            inner = term.css("span.term") or [term]
            names += [name for part in inner if (name := _words(part).strip(" ,"))]
            rest.append(term)
            term = _element(term, forwards=True)
        if not names:
            continue
        shown = ", ".join(
            f"<code>{html.escape(name)}</code>" if _MARKUP.search(name) else html.escape(name)
            for name in names
        )
        first.inner_html = f"{OPEN}t{len(ids)}{CLOSE}<strong>{shown}</strong>"
        for other in rest[1:]:
            other.decompose()
        ids.append(escaped(anchor))
    for terms in main.css("dl"):
        if not any(parent.tag == "dd" for parent in _parents(terms)):
            end = _block()
            end.insert_child(_END_OF_TERMS)
            terms.insert_after(end)
    return ids


def _parents(node: LexborNode) -> Iterator[LexborNode]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def _dt_before(term: LexborNode) -> LexborNode | None:
    before = _element(term, forwards=False)
    return before if before is not None and before.tag == "dt" else None


def _element(beside: LexborNode, *, forwards: bool) -> LexborNode | None:
    """The next or previous element."""
    node = beside.next if forwards else beside.prev
    while node is not None and not node.is_element_node:
        node = node.next if forwards else node.prev
    return node


def _code(main: LexborNode) -> None:
    """Rewrite code blocks so that the converter finds their language, whatever highlighter made
    them."""
    for block in main.css("pre"):
        for line_break in block.css("br"):
            line_break.replace_with("\n")
        code = html.escape(block.text(), quote=False)
        language = _language(block)
        name = f' class="language-{html.escape(language)}"' if language else ""
        # The parser drops a line break at the start of `pre`.
        block.inner_html = f"<code{name}>{code}</code>"


def _join_lines(main: LexborNode) -> None:
    """Replace line breaks with spaces, as browsers show them outside `pre`: the converter escapes
    nothing after a line break that it keeps, and text could start a heading or a fence."""
    code = {node.mem_id for block in main.css("pre") for node in block.traverse(include_text=True)}
    texts = [
        node
        for node in main.traverse(include_text=True)
        if node.is_text_node and node.mem_id not in code
    ]
    for node in texts:
        text = node.text_content or ""
        if not text.isspace() and (joined := text.translate(_LINE_ENDS)) != text:
            node.replace_with(joined)


def _language(block: LexborNode) -> str:
    inner = block.css_first("code")
    around: list[LexborNode] = [block] if inner is None else [inner, block]
    parent = block.parent
    for _ in range(3):
        if parent is None or not parent.is_element_node or parent.css_first("pre") != block:
            break  # it contains more than this block
        around.append(parent)
        parent = parent.parent
    for element in around:
        for key in ("data-lang", "data-language", "data-syntaxhighlighter-params", "class"):
            value = attribute(element, key).lower()
            if key.endswith(("lang", "language")) and value:
                return "" if value in _NO_LANGUAGE else value
            for language in _LANGUAGE.findall(value):
                if language not in _NO_LANGUAGE:
                    return str(language)
    return ""


def _link(main: LexborNode, base: str, url: str, resolve: Callable[[str], str]) -> None:
    """Make links and images relative to the page's address; replace dead links with their text."""
    for link in main.css("a[href]"):
        target = attribute(link, "href").strip()
        address = _address(base, target)
        if address is None or not target:
            link.unwrap()
            continue
        link.attrs["href"] = _shortest(url, resolve(address))
        _drop(link, "title")
    for image in main.css("img"):
        alt = " ".join(attribute(image, "alt").split())
        names = attribute(image, "class").split()
        address = _address(base, attribute(image, "src").strip())
        if alt and ({"emoji", "twemoji", "emojione", "emoticon"} & set(names) or not address):
            image.replace_with(alt)
        elif not alt or not address:
            image.decompose()
        else:
            image.attrs["src"] = _shortest(url, resolve(address))
            image.attrs["alt"] = alt
            _drop(image, "title")


def _drop(element: LexborNode, key: str) -> None:
    if key in element.attrs:
        del element.attrs[key]


def _address(base: str, target: str) -> str | None:
    """The absolute address of a target; None for scripts, data and invalid addresses."""
    address = join(base, target)
    try:
        scheme = urlsplit(address).scheme.lower()
    except ValueError:
        return None
    return address if address and scheme in _SCHEMES else None


def _shortest(url: str, address: str) -> str:
    """The shortest target from the page at `url` to `address`."""
    try:
        target = relative(url, address)
        return target if urljoin(url, target) == address else address
    except ValueError:
        return address


def _sections(
    markdown: str, headings: Sequence[Heading], title: str, terms: Sequence[str]
) -> tuple[Section, ...]:
    sections: list[Section] = []
    stack: list[Heading] = []
    current: Heading | None = None
    lines: list[str] = []
    known: list[tuple[str, str]] = []

    def close() -> None:
        text = "\n".join(lines).strip()
        if current is None:
            if re.search(r"\w", text):  # not only a rule, as below Texinfo's navigation
                sections.append(Section("", "", (), text, tuple(known)))
            return
        # Omit the page's own title, which is shown next to the path everywhere.
        path = tuple(h.text for h in stack if h is not headings[0] or h.text != title)
        sections.append(Section(current.text, current.anchor, path, text, tuple(known)))

    ended = False
    for written in markdown.split("\n"):
        line = written
        if line.strip() == _END_OF_TERMS:
            ended = True
            continue
        if ended and not line.strip():
            continue
        if ended and not _TERM.search(line) and not _MARK.search(line):
            known.append((line.strip(), ""))
        if ended and lines and lines[-1].strip():
            lines.append("")
        ended = False
        if term := _TERM.search(line):
            line = _TERM.sub("", line)
            if anchor := terms[int(term[1])]:
                known.append((line.strip(), anchor))
        mark = _MARK.search(line)
        if mark is None:
            lines.append(line)
            continue
        close()
        known = []
        current = headings[int(mark[1])]
        while stack and stack[-1].level >= current.level:
            stack.pop()
        stack.append(current)
        shown = _MARK.sub("", line).strip()
        lines = [shown if shown.startswith("#") else f"{'#' * current.level} {current.text}"]
    close()
    return tuple(sections)
