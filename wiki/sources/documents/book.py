"""Reads books (EPUB) chapter by chapter."""

import posixpath
from dataclasses import replace
from urllib.parse import unquote

from wiki.pages.page import Page, Section
from wiki.sources import html, sections
from wiki.sources.documents.archive import Archive, local

_CONTAINER = "META-INF/container.xml"
_CHAPTERS = 2_000


def page(data: bytes, path: str, url: str) -> Page:
    """Read a book. Raises ValueError: it is not a book, or is locked."""
    archive = Archive(data)
    if "META-INF/rights.xml" in archive.names:
        raise ValueError("is protected by DRM: its text cannot be read")
    container = archive.xml(_CONTAINER)
    package = next(
        (element.get("full-path", "") for element in container.iter() if _is_root(element)), ""
    )
    tree = archive.xml(package)
    items = {
        element.get("id"): element.get("href", "")
        for element in tree.iter()
        if local(element) == "item"
    }
    spine = [element.get("idref") for element in tree.iter() if local(element) == "itemref"]
    titles = (element.text for element in tree.iter() if local(element) == "title")
    title = " ".join((next(titles, "") or "").split()) or sections.name(path)
    read: list[Section] = []
    for name in spine[:_CHAPTERS]:
        href = unquote(items.get(name, ""))
        member = posixpath.normpath(posixpath.join(posixpath.dirname(package), href))
        if member not in archive.names:
            raise ValueError(f"lacks its chapter {href or name}")
        chapter = html.page(archive.read(member), member, url)
        for part in chapter.sections:
            inner = part.path if part.path[:1] == (chapter.title,) else (chapter.title, *part.path)
            read.append(replace(part, anchor="", path=inner))
    return Page(path, title, url, tuple(read))


def _is_root(element: object) -> bool:
    return local(element) == "rootfile"  # type: ignore[arg-type]
