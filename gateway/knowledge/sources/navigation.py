"""The name and navigation of a site, for the preview.

The result has the format of `mkdocs_config.look`. No program is run: values that are not literals
are omitted.
"""

import contextlib
import html
import json
import posixpath
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import yaml

from gateway.knowledge.sources import (
    addresses,
    docusaurus_config,
    gitbook_config,
    js_config,
    mkdocs_config,
    safe_yaml,
)
from gateway.knowledge.sources.commonmark import front_matter
from gateway.knowledge.sources.detect import Project
from gateway.knowledge.sources.docusaurus import is_page, position, unnumbered
from gateway.knowledge.sources.gitbook import settings as gitbook_settings
from gateway.knowledge.sources.preview import shown
from gateway.knowledge.sources.tree import Tree, decode

_LARGEST = 2**20
_DEEPEST = 20
# Pages that sidebars may list automatically, in addition to twice the number of pages.
_SPARE = 1_000
_SIDEBARS = re.compile(
    r"(?:\bmodule\.exports\s*+=|\bexport\s++default\b|\bsidebars\s*+(?::\s*+\w++\s*+)?=)(?=\s*+\{)"
)


class _Sidebar(NamedTuple):
    label: str
    entries: list[Any]


def of(project: Project) -> dict[str, Any]:
    """The name and navigation of a folder's project; empty without such settings."""
    if project.kind == "gitbook":
        return gitbook(project)
    if project.settings is None or project.kind == "obsidian":
        return {}
    if project.kind == "docusaurus":
        return docusaurus(project)
    if project.kind == "vitepress":
        return vitepress(project)
    with contextlib.suppress(OSError, ValueError):  # a sync reports the error
        return mkdocs_config.look(project.settings, project.bounds)
    return {}


def docusaurus(project: Project) -> dict[str, Any]:
    """The name and navigation of a project with a docusaurus.config.js."""
    assert project.settings is not None
    text = js_config.read(project.settings, project.bounds)
    navbar = text[match.start() :] if (match := re.search(r"\bnavbar:", text)) else ""
    return _look(js_config.string("title", text), _docusaurus_sidebars(project, text, navbar))


def vitepress(project: Project) -> dict[str, Any]:
    """The name and navigation of a project with a .vitepress/config."""
    assert project.settings is not None
    text = js_config.read(project.settings, project.bounds)
    above, sidebars = _vitepress_nav(Tree(project.content, project.bounds), text)
    return _look(js_config.string("title", text), sidebars, above)


def gitbook(project: Project) -> dict[str, Any]:
    """The name and navigation of a book with a SUMMARY.md, and possibly a title in book.json."""
    tree = Tree(project.content, project.bounds)
    look: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        look["site_name"] = _text(json.loads(tree.data("book.json", _LARGEST)).get("title"))
    with contextlib.suppress(OSError, ValueError):
        summary = gitbook_settings(project).summary
        entries = list(gitbook_config.contents(summary, tree.text(summary)))
        look["nav"] = mkdocs_config.navigation(_gitbook_nav(set(tree.markdown), entries))
    return {key: value for key, value in look.items() if value}


def _look(
    name: str | None, sidebars: Sequence[_Sidebar], above: Sequence[Any] = ()
) -> dict[str, Any]:
    """`above`: entries to put before all sidebars."""
    look: dict[str, Any] = {"site_name": name}
    sidebars = [sidebar for sidebar in sidebars if sidebar.entries]
    if len(sidebars) > 1:  # a page shows only its own sidebar
        nav = [*above, *({html.escape(label): entries} for label, entries in sidebars)]
        look["features"] = ["navigation.tabs"]
    else:
        nav = [*above, *(entry for sidebar in sidebars for entry in sidebar.entries)]
    look["nav"] = mkdocs_config.navigation(nav)
    return {key: value for key, value in look.items() if value}


class _Document(NamedTuple):
    path: str
    label: str
    order: float


def _entry(label: str, target: Any) -> Any:
    """An entry of MkDocs' `nav`, whose titles are HTML."""
    return {html.escape(label): target} if label else target


def _docusaurus_sidebars(project: Project, text: str, navbar: str) -> list[_Sidebar]:
    assert project.settings is not None
    numbered = docusaurus_config.load(project.settings, project.bounds).number_prefixes
    docs = _Docs(Tree(project.content, project.bounds), numbered)
    named = js_config.path("sidebarPath", text)
    if named is None:
        is_code = re.search(r"\bsidebarPath:(?!\s*+undefined\b)", text)
        return [] if is_code else [_Sidebar("", docs.generated(""))]
    program = js_config.read(project.settings.parent / named.removeprefix("@site/"), project.bounds)
    match = _SIDEBARS.search(program)
    sidebars = js_config.literal(program, match.end()) if match else None
    if not isinstance(sidebars, dict):
        return []
    items = js_config.value("items", navbar)
    labels = {
        _text(item.get("sidebarId")): _text(item.get("label"))
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, dict)
    }
    try:
        return [
            _Sidebar(labels.get(name) or _humanised(name), list(docs.entries(items)))
            for name, items in sidebars.items()
        ]
    except ValueError:
        return []


def _humanised(name: str) -> str:
    """A readable name for a sidebar without a label: `apiSidebar` and `/api/` become "Api"."""
    words = re.sub(r"[\W_]++|(?<=[a-z])(?=[A-Z])", " ", name).split()
    if len(words) > 1 and words[-1].lower() == "sidebar":
        words.pop()
    return " ".join(words).capitalize() or "Home"


class _Docs:
    """The Docusaurus pages in the preview, by their names in sidebars."""

    def __init__(self, tree: Tree, numbered: bool) -> None:
        self._tree = tree
        self._by_id: dict[str, _Document] = {}
        for path in tree.markdown:
            if not path.endswith((".md", ".mdx")) or not is_page(path):
                continue
            try:
                _, front = front_matter(tree.text(path))
            except (OSError, ValueError):
                continue  # a sync reports the reason
            if front.get("draft") is True or front.get("unlisted") is True:
                continue
            parts = posixpath.splitext(path)[0].split("/")
            names = [unnumbered(part) if numbered else part for part in parts]
            name = str(front["id"]) if isinstance(front.get("id"), str | int) else names[-1]
            self._by_id["/".join([*names[:-1], name])] = _Document(
                shown(path),
                _text(front.get("sidebar_label")) or _text(front.get("title")),
                _order(front.get("sidebar_position"), parts[-1] if numbered else ""),
            )
        self._numbered = numbered
        self._documents = sorted(self._by_id.values())
        self._left = _SPARE + 2 * len(self._documents)

    def entries(self, items: Any) -> Iterator[Any]:
        """The entries of a sidebar, or of a category in it."""
        if isinstance(items, dict) and "type" not in items:
            # The shorthand: labels of categories, with their content.
            items = [{"type": "category", "label": k, "items": v} for k, v in items.items()]
        elif isinstance(items, dict):
            items = [items]
        for item in items if isinstance(items, list) else []:
            yield from self._entries(item)

    def _entries(self, item: Any) -> Iterator[Any]:
        if isinstance(item, str):
            item = {"type": "doc", "id": item}
        if not isinstance(item, dict):
            return
        label = _text(item.get("label"))
        match item.get("type"):
            case "doc" | "ref":
                if document := self._by_id.get(_text(item.get("id"))):
                    yield _entry(label or document.label, document.path)
            case "category":
                link = item.get("link")
                own = self._by_id.get(_text(link.get("id"))) if isinstance(link, dict) else None
                inner = list(self.entries(item.get("items")))
                if own and own.path not in _targets(inner):
                    inner.insert(0, own.path)
                if label and inner:
                    yield {html.escape(label): inner}
            case "autogenerated":
                yield from self.generated(_text(item.get("dirName")))
            case "link":
                if label:
                    yield _entry(label, item.get("href"))
            case None:
                yield from self.entries(item)

    def generated(self, folder: str) -> list[Any]:
        """The entries for the pages in a folder, by position.

        Raises:
            ValueError: a sidebar lists all pages over and over.
        """
        folder = "" if folder in (".", "") else folder.strip("/") + "/"
        pages = self._documents
        if folder:  # from `guides/` to the first path without this prefix
            first = bisect_left(pages, folder, key=lambda page: page.path)
            pages = pages[first : bisect_left(pages, folder[:-1] + "0", key=lambda page: page.path)]
        self._left -= 1 + len(pages)
        if self._left < 0:
            raise ValueError("far more entries than pages")
        return self._in(folder, pages, 0)

    def _in(self, folder: str, pages: list[_Document], depth: int) -> list[Any]:
        ordered: list[tuple[float, str, Any]] = []
        below: dict[str, list[_Document]] = {}
        for page in pages:
            name, inner, _ = page.path[len(folder) :].partition("/")
            if inner and depth < _DEEPEST:
                below.setdefault(name, []).append(page)
            else:
                ordered.append((page.order, name, _entry(page.label, page.path)))
        for name, inside in below.items():
            category = self._category(f"{folder}{name}")
            label = _text(category.get("label")) or (unnumbered(name) if self._numbered else name)
            order = _order(category.get("position"), name if self._numbered else "")
            entries = self._in(f"{folder}{name}/", inside, depth + 1)
            ordered.append((order, name, {html.escape(label): entries}))
        return [entry for _, _, entry in sorted(ordered, key=lambda item: item[:2])]

    def _category(self, folder: str) -> dict[str, Any]:
        for name in ("_category_.json", "_category_.yml", "_category_.yaml"):
            with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
                data = self._tree.data(f"{folder}/{name}", _LARGEST)
                fields = safe_yaml.load(decode(data), yaml.SafeLoader)
                return fields if isinstance(fields, dict) else {}
        return {}


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _order(written: Any, name: str) -> float:
    """The explicit position, or else the number prefix of the name, or else infinity."""
    if isinstance(written, int | float) and abs(written) < 1e9:
        return float(written)
    return position(name)


def _vitepress_nav(tree: Tree, text: str) -> tuple[list[Any], list[_Sidebar]]:
    """The entries of `nav` that are in no sidebar, and the sidebars."""
    pages = {path for path in tree.markdown if path.endswith(".md")}
    above = js_config.value("nav", text)
    sidebars = []
    sidebar = js_config.value("sidebar", text)
    for folder, items in sidebar.items() if isinstance(sidebar, dict) else [("", sidebar)]:
        base = ""
        if isinstance(items, dict):
            base, items = _text(items.get("base", folder)), items.get("items")
        label = _vitepress_label(folder, above) or _humanised(folder)
        sidebars.append(_Sidebar(label, _vitepress_entries(pages, items, base)))
    known = set(_targets([entry for sidebar in sidebars for entry in sidebar.entries]))
    entries = _vitepress_entries(pages, above, "")
    return [entry for entry in entries if known.isdisjoint(_targets([entry]))], sidebars


def _vitepress_label(folder: str, above: Any) -> str:
    """The label of the entry in `nav` that links into a folder."""
    for item in above if isinstance(above, list) else []:
        if isinstance(item, dict) and folder.strip("/"):
            link = "/" + _text(item.get("link")).lstrip("/") + "/"
            if link.startswith(f"/{folder.strip('/')}/"):
                return _text(item.get("text"))
    return ""


def _targets(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, dict):
            for below in entry.values():
                yield from _targets(below if isinstance(below, list) else [below])
        elif isinstance(entry, str):
            yield entry


def _vitepress_entries(pages: set[str], items: Any, base: str) -> list[Any]:
    entries: list[Any] = []
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict):
            continue
        base_here = _text(item.get("base")) or base
        label, link = _text(item.get("text")), _text(item.get("link"))
        if link and not re.match(r"[a-z][a-z0-9+.-]*:|//", link, re.I):
            link = _vitepress_page(pages, base_here + link)
        inner = _vitepress_entries(pages, item.get("items"), base_here)
        if label and inner:
            entries.append({html.escape(label): [*([link] if link else []), *inner]})
        elif inner:
            entries += inner
        elif label and link:
            entries.append(_entry(label, link))
    return entries


def _vitepress_page(pages: set[str], link: str) -> str:
    """The file of a link's page; empty if the preview does not have it."""
    plain = re.split("[?#]", link)[0]
    name = re.sub(r"\.(?:md|html)$", "", posixpath.normpath("/" + plain).lstrip("/"))
    files = [posixpath.join(name, "index.md")]
    if not plain.endswith("/"):
        files.insert(0, f"{name}.md")
    return next((file for file in files if file in pages), "")


def _gitbook_nav(pages: set[str], entries: Sequence[gitbook_config.SummaryLink]) -> list[Any]:
    nav: list[Any] = []
    # Open lists, with the indentation of the entries that they belong to.
    above: list[tuple[int, list[Any]]] = [(-1, nav)]
    for entry, after in zip_longest(entries, entries[1:]):
        while above[-1][0] >= entry.level:
            above.pop()
        is_shown = entry.path in pages or addresses.is_elsewhere(entry.path or "x")
        link = [_entry(entry.title, entry.path)] if is_shown else []
        if after is not None and after.level > entry.level:
            above[-1][1].append({html.escape(entry.title): link})
            above.append((entry.level, link))
        else:
            above[-1][1].extend(link)
    return nav
