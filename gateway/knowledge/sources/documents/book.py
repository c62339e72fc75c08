"""Reads books (EPUB) chapter by chapter."""

import posixpath
from dataclasses import replace
from urllib.parse import unquote

from gateway.knowledge.sources import html, sections
from gateway.knowledge.sources.documents.archive import Archive, local
from gateway.knowledge.wiki.page import Page, Section

_CONTAINER = "META-INF/container.xml"
_CHAPTERS = 2_000


def page(data: bytes, path: str, url: str) -> Page:
    """Read a book. Raises ValueError: it is none, or is locked."""
    archive = Archive(data)
    if "META-INF/rights.xml" in archive.names:
        raise ValueError("is protected by DRM: its text cannot be read")
    container = archive.xml(_CONTAINER)
    package = next((one.get("full-path", "") for one in container.iter() if _is_root(one)), "")
    tree = archive.xml(package)
    items = {one.get("id"): one.get("href", "") for one in tree.iter() if local(one) == "item"}
    spine = [one.get("idref") for one in tree.iter() if local(one) == "itemref"]
    titles = (one.text for one in tree.iter() if local(one) == "title")
    title = " ".join((next(titles, "") or "").split()) or sections.name(path)
    found: list[Section] = []
    for name in spine[:_CHAPTERS]:
        href = unquote(items.get(name, ""))
        member = posixpath.normpath(posixpath.join(posixpath.dirname(package), href))
        if member not in archive.names:
            raise ValueError(f"lacks its chapter {href or name}")
        chapter = html.page(archive.read(member), member, url)
        for one in chapter.sections:
            inner = one.path if one.path[:1] == (chapter.title,) else (chapter.title, *one.path)
            found.append(replace(one, anchor="", path=inner))
    return Page(path, title, url, tuple(found))


def _is_root(element: object) -> bool:
    return local(element) == "rootfile"  # type: ignore[arg-type]
