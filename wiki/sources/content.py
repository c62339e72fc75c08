"""Extracts the main content of an HTML page, without navigation and other surroundings.

The content elements of known generators are listed here. For other pages, Resiliparse finds the
content with its rules. It returns text without markup, but the headings' anchors are needed: so
each run of text is numbered, and the content is the element that holds the returned runs.

"""

import re
from collections.abc import Iterator

from resiliparse.extract.html2text import extract_plain_text
from selectolax.lexbor import LexborHTMLParser, LexborNode

from wiki.sources.document import CLOSE, OPEN, attribute, parse

# The most specific first: a Confluence page also has a `main`, which contains more than the page.
CONTAINERS = (
    "#main-content.wiki-content, .wiki-content",  # Confluence
    ".mw-parser-output",  # MediaWiki
    "#mw-content-text",
    ".md-content__inner",  # Material for MkDocs
    ".theme-doc-markdown",  # Docusaurus
    "[itemprop=articleBody]",  # Sphinx: Read the Docs' theme, and blogs
    "#furo-main-content",
    "div.document div.body",
    "main",
    "[role=main]",
    "#main-content",
)
# A DocBook chapter, with its title and the text before its first section.
_CHAPTER = "div:has(> .titlepage)"
_NOT_CONTENT = ", ".join(
    (
        "script, style, noscript, template, link, meta, title, iframe, object, embed, canvas, svg",
        "audio, video, dialog, button, input, select, textarea, datalist",
        "nav, [role=navigation], [role=search], [role=banner], [role=contentinfo], [role=dialog]",
        "[hidden]:not([role=tabpanel]), [aria-hidden=true]:not(:has(h1, h2, h3)), .sr-only",
        "footer:not(blockquote footer, figure footer)",
        # Tables of contents.
        ".toc, #toc, .toc-macro, .table-of-contents, .contents.topic, .contents.local",
        ".theme-doc-toc-mobile, .theme-doc-toc-desktop, .md-nav, .bd-toc",
        # Breadcrumbs, links to other pages, and authors.
        ".breadcrumb, .breadcrumbs, #breadcrumbs, #breadcrumb-section, .theme-doc-breadcrumbs",
        ".wy-breadcrumbs, .pagination-nav, .rst-footer-buttons, .prev-next-area, .nav-chapters",
        ".navheader, .navfooter",  # DocBook
        ".list-of-tables, .list-of-figures, .list-of-examples, .list-of-equations",  # DocBook
        ".page-metadata, .md-source-file, .theme-doc-version-badge, .last-updated",
        # For editing and printing, not for reading.
        ".mw-editsection, .mw-jump-link, .noprint, .printfooter, .catlinks, .navbox, .edit-link",
        ".md-content__button, .edit-this-page, .theme-edit-this-page, .copybtn, .copy-button",
        # Line numbers beside code.
        "td.linenos, td.gutter, .lineno, .linenodiv, .line-numbers-rows",
        ".sidebar, .sphinxsidebar, .md-sidebar, .skip-link, .visually-hidden",
        ".cookie-banner, #cookie-banner, .cookie-notice, #cookie-notice, .cookie-consent",
        "#cookie-consent, #onetrust-consent-sdk, .cc-window",
    )
)
# Navigation of Texinfo and others without a class: links to adjacent and parent pages.
_STEP = ", ".join(
    [f"a[rel~={way}]" for way in ("prev", "next", "up")]
    + [f"a[accesskey={key}]" for key in ("p", "n", "u")]
)
_BLOCKS = frozenset(
    "body div section article main center form table tbody tr td font span".split()  # noqa: SIM905
)
# A table with text in many rows is data, and the content is larger than it; a table with a single
# cell is layout.
_ROWS = frozenset(("table", "tbody", "tr"))
_MARK = re.compile(f"{OPEN}(\\d+){CLOSE}")
# The minimum share of the extracted text that the content must hold.
_MOST = 0.9


def content(tree: LexborHTMLParser, text: str) -> LexborNode:
    """Returns the element of `tree` with the main content, and removes boilerplate inside it.

    Args:
        tree: `parse(text)`; changed.
        text: the document, as `parse` takes it.
    """
    main = _known(tree) or _guessed(tree, text)
    _with_name(tree, main)
    for element in main.css(_NOT_CONTENT):
        if element.mem_id != main.mem_id:
            element.decompose()
    for element in main.css("aside, header, ul, div"):
        if element.mem_id != main.mem_id and _is_menu(element):
            element.decompose()
    for element in list(
        _navigation(main)
    ):  # collect all of them first: the check looks at the text around links
        element.decompose()
    return main


def _with_name(tree: LexborHTMLParser, main: LexborNode) -> None:
    """Move the NAME section of a manual page, which AsciiDoc puts into its header, to the top: the
    line that says what the command does."""
    header = tree.css_first("body > div#header")
    if header is None or header.css_first("h2") is None or main.first_child is None:
        return
    if header.mem_id == main.mem_id or main.tag == "body":
        return
    parts = "".join(part.html or "" for part in header.css("h2, div.sectionbody"))
    named = LexborHTMLParser(f"<div>{parts}</div>").css_first("div")
    if named is not None:
        main.first_child.insert_before(named)


def _known(tree: LexborHTMLParser) -> LexborNode | None:
    assert tree.body is not None
    for selector in CONTAINERS:
        for element in tree.body.css(selector):
            if _has_text(element):
                return element
    chapter = tree.body.css_first(_CHAPTER)
    if chapter is not None and chapter.parent is not None and _has_text(chapter):
        for beside in list(chapter.parent.iter(include_text=True)):
            if beside.mem_id != chapter.mem_id:
                beside.decompose()
        return chapter.parent  # the chapter's own anchor is on the chapter
    # Several mean a list of articles, each with its own beginning.
    articles = [element for element in tree.body.css("article") if _has_text(element)]
    return articles[0] if len(articles) == 1 else None


def _has_text(element: LexborNode) -> bool:
    return bool(element.text().strip()) or element.css_first("img[alt]") is not None


def _is_menu(element: LexborNode) -> bool:
    """Is it named as a menu, or nothing but links next to the content?"""
    tag = element.tag
    if tag in ("ul", "div"):
        names = f"{attribute(element, 'class')} {attribute(element, 'id')}".lower()
        named = re.search(r"(?<![a-z])(menu|navbar|nav|breadcrumbs?|sidebar)(?![a-z])", names)
        return bool(named) and _linked(element) > 0.5
    return tag == "aside" and _linked(element) > 0.5


def _navigation(main: LexborNode) -> Iterator[LexborNode]:
    """Yields blocks that mainly contain links to adjacent and parent pages."""
    seen = {main.mem_id}
    for link in main.css(_STEP):
        block = link.parent
        while block is not None and block.mem_id not in seen:
            seen.add(block.mem_id)
            if block.tag in ("div", "p", "table", "ul"):
                steps, links = len(block.css(_STEP)), len(block.css("a[href]"))
                headed = block.css_first("h1, h2, h3") is not None
                if steps * 2 >= links and _linked(block) > 0.5 and not headed:
                    yield block
                break
            block = block.parent


def _linked(element: LexborNode) -> float:
    """The share of its text in links, 0 to 1."""
    whole = len("".join(element.text().split()))
    inside = sum(len("".join(link.text().split())) for link in element.css("a[href]"))
    return inside / whole if whole else 0.0


def _guessed(tree: LexborHTMLParser, text: str) -> LexborNode:
    """The smallest element with nearly all of the text that the extractor keeps."""
    assert tree.body is not None
    runs = list(_runs(tree.body))
    marked = parse(text)
    assert marked.body is not None
    for number, run in enumerate(list(_runs(marked.body))):
        run.insert_before(f"{OPEN}{number}{CLOSE}")
    extracted = extract_plain_text(marked.html or "", main_content=True, preserve_formatting=False)
    weights: dict[int, int] = {}
    total = 0
    for number in _MARK.findall(extracted):
        run = runs[int(number)]
        weight = len((run.text_content or "").strip())
        total += weight
        above = run.parent
        while above is not None:
            weights[above.mem_id] = weights.get(above.mem_id, 0) + weight
            above = above.parent
    element = main = tree.body
    while total:
        heaviest = max(element.iter(), key=lambda child: weights.get(child.mem_id, 0), default=None)
        if heaviest is None or heaviest.tag not in _BLOCKS:
            break
        if weights.get(heaviest.mem_id, 0) < _MOST * total:
            break
        element = heaviest
        if element.tag not in _ROWS:
            main = element
    # Before and after the content, elements that the extractor dropped and that are mostly links
    # are not content. Within it, and below a line that announces them, they are.
    children = list(main.iter()) if total else []
    for beside in (children, children[::-1]):
        for child in beside:
            if weights.get(child.mem_id):
                break
            if _linked(child) > 0.5 and not _is_announced(child):
                child.decompose()
    return main


def _is_announced(element: LexborNode) -> bool:
    """Does the text before it end with a colon?"""
    before = element.prev
    while before is not None and not before.text().strip():
        before = before.prev
    return before is not None and before.text().rstrip().endswith((":", "："))


def _runs(body: LexborNode) -> Iterator[LexborNode]:
    """Yields the visible runs of text, in order."""
    for node in body.traverse(include_text=True):
        if node.is_text_node and (node.text_content or "").strip():
            parent = node.parent
            if parent is not None and parent.tag not in ("script", "style", "noscript"):
                yield node
