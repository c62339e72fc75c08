"""Converts Confluence's storage format to HTML, with macros as readers see them.

https://confluence.atlassian.com/doc/confluence-storage-format-790796544.html
"""

import html
import re
from collections.abc import Callable

from selectolax.lexbor import LexborHTMLParser, LexborNode

from wiki.sources.anchors import HEADINGS
from wiki.sources.document import attribute, parse, scrubbed

LARGEST = 8 * 2**20
Link = Callable[[str, str], str]
"""Returns the address of a page by its space key (empty: this space) and title; empty if
unknown."""

_CDATA = "<![CDATA["
_EMPTY = re.compile(r"<((?:ac|ri|at):[\w-]+)((?:\s+[\w:-]+=\"[^\"]*\")*)\s*/>")
_NOTES = {"info": "Info", "note": "Note", "tip": "Tip", "warning": "Warning", "panel": ""}
_CODE = ("code", "noformat")
_NOTHING = (
    *("anchor", "attachments", "blog-posts", "change-history", "children", "contentbylabel"),
    *("contributors", "create-from-template", "gallery", "livesearch", "pagetree", "profile"),
    *("recently-updated", "toc", "toc-zone", "viewxls", "widget"),
)


def document(storage: str, title: str, link: Link, anchor: Callable[[str], str]) -> str:
    """Converts a page to an HTML document, whose headings have Confluence's anchors.

    Args:
        storage: the body, in the storage format.
        title: the page's title.
        link: see `Link`.
        anchor: returns a heading's anchor by its text.

    Raises:
        ValueError: it is too large, or nested too deeply.
    """
    if len(storage) > LARGEST:
        raise ValueError(f"larger than {LARGEST // 2**20} MiB")
    text = _as_text(scrubbed(storage))
    text = _EMPTY.sub(r"<\1\2></\1>", text)
    tree = parse(f"<!doctype html><body><main>{text}</main>")
    main = tree.css_first("main")
    assert main is not None
    # Inside out: convert a macro's content before the macro itself.
    elements = [
        element for element in main.traverse() if element.tag is not None and ":" in element.tag
    ]
    for element in reversed(elements):
        _replace(element, link)
    seen: dict[str, int] = {}
    for heading in main.css(", ".join(HEADINGS)):
        name = anchor(" ".join(heading.text().split()))
        count = seen.get(name, 0)
        seen[name] = count + 1
        heading.attrs["id"] = f"{name}.{count}" if count else name
    shown = html.escape(title)
    inner = main.inner_html or ""
    return f"<!doctype html><title>{shown}</title><body><main><h1>{shown}</h1>{inner}</main>"


def _as_text(storage: str) -> str:
    """Converts CDATA sections, which HTML does not have, to text."""
    parts: list[str] = []
    at = 0
    while (start := storage.find(_CDATA, at)) >= 0 and (end := storage.find("]]>", start)) >= 0:
        parts += (storage[at:start], html.escape(storage[start + len(_CDATA) : end]))
        at = end + 3
    return "".join([*parts, storage[at:]])


def _replace(element: LexborNode, link: Link) -> None:
    tag = element.tag or ""
    if tag in ("ac:structured-macro", "ac:macro"):
        _macro(element)
    elif tag == "ac:link":
        _link(element, link)
    elif tag == "ac:task":
        body = element.css_first("ac\\:task-body")
        done = element.css_first("ac\\:task-status")
        mark = "[x]" if done is not None and done.text().strip() == "complete" else "[ ]"
        _put(element, "li", f"{mark} {body.inner_html if body is not None else ''}")
    elif tag == "ac:task-list":
        _put(element, "ul", element.inner_html or "")
    elif tag in ("ac:placeholder", "ac:emoticon", "ac:image", "ac:task-id", "ac:adf-fallback"):
        alt = attribute(element, "ac:alt") if tag == "ac:image" else ""
        _put(element, "span", html.escape(alt)) if alt else element.decompose()
    elif tag in ("ac:task-body", "ac:task-status", "ac:parameter", "ac:plain-text-body"):
        pass  # part of the surrounding element
    elif tag.startswith("ri:") or tag in ("ac:plain-text-link-body", "ac:link-body"):
        pass
    else:
        element.unwrap()


def _macro(element: LexborNode) -> None:
    name = attribute(element, "ac:name").lower()
    named = {
        attribute(child, "ac:name"): " ".join(child.text().split())
        for child in element.iter()
        if child.tag == "ac:parameter"
    }
    plain = next((child for child in element.iter() if child.tag == "ac:plain-text-body"), None)
    for child in list(element.iter()):
        if child.tag == "ac:parameter":
            child.decompose()
    if name in _NOTHING:
        element.decompose()
    elif name in _CODE or plain is not None:
        code = html.escape(plain.text()) if plain is not None else ""
        language = html.escape(named.get("language", ""), quote=True)
        title = f"<p><strong>{html.escape(named['title'])}</strong></p>" if "title" in named else ""
        _put(element, "div", f'{title}<pre data-lang="{language}">{code}</pre>')
    elif name == "status":
        _put(element, "span", html.escape(named.get("title", "")))
    elif name == "jira":
        _put(element, "span", html.escape(named.get("key", "")))
    elif name in ("include", "excerpt-include"):
        what = named.get("") or "another page"
        _put(element, "p", f"(includes {html.escape(what)}, a separate page)")
    else:
        title = named.get("title", "") or _NOTES.get(name, "")
        head = f"<p><strong>{html.escape(title)}</strong></p>" if title else ""
        _put(element, "div", head + (element.inner_html or ""))


def _link(element: LexborNode, link: Link) -> None:
    page = element.css_first("ri\\:page")
    body = element.css_first("ac\\:plain-text-link-body, ac\\:link-body")
    title = attribute(page, "ri:content-title") if page is not None else ""
    shown = (body.inner_html or "") if body is not None else html.escape(title)
    address = link(attribute(page, "ri:space-key"), title) if page is not None else ""
    anchor = attribute(element, "ac:anchor")
    if not shown:
        attached = element.css_first("ri\\:attachment")
        shown = attribute(attached, "ri:filename") if attached is not None else anchor
        shown = html.escape(shown)
    if address:
        _put(element, "a", shown, href=address)
    else:
        _put(element, "span", shown)


def _put(element: LexborNode, tag: str, inner: str, **attributes: str) -> None:
    """Replace an element with a different one."""
    named = "".join(f' {key}="{html.escape(value)}"' for key, value in attributes.items())
    made = LexborHTMLParser(f"<body><{tag}{named}>{inner}</{tag}></body>").css_first(
        f"body > {tag}"
    )
    if made is None:
        element.unwrap()
        return
    element.insert_before(made)
    element.decompose()
