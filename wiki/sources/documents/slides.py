"""Presentations (PPTX): one section per slide, with its notes."""

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from wiki.pages.page import Page, Section
from wiki.sources import sections
from wiki.sources.documents.archive import Archive, local
from wiki.sources.documents.made import escaped, section, table

_MAIN = "ppt/presentation.xml"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_TITLES = ("title", "ctrTitle")
_FURNITURE = ("sldNum", "dt", "ftr", "hdr", "sldImg")


def page(data: bytes, path: str, url: str) -> Page:
    """Read a presentation. Raises ValueError: it is invalid."""
    archive = Archive(data)
    targets = _relations(archive, _MAIN)
    slides = [
        targets[key][1]
        for element in archive.xml(_MAIN).iter()
        if local(element) == "sldId" and (key := element.get(_ID, "")) in targets
    ]
    slide_sections = tuple(_slide(archive, name, number) for number, name in enumerate(slides, 1))
    return Page(path, sections.name(path), url, slide_sections)


def _slide(archive: Archive, name: str, number: int) -> Section:
    title, blocks = _read(archive.xml(name))
    for kind, target in _relations(archive, name).values():
        if kind == "notesSlide" and target in archive.names:
            _, notes = _read(archive.xml(target))
            blocks += ["Notes:", *notes] if notes else []
    return section(title or f"Slide {number}", (), "\n\n".join(blocks))


def _read(slide: Element) -> tuple[str, list[str]]:
    """The title, and the other texts of a slide."""
    title = ""
    blocks: list[str] = []
    for shape in _shapes(slide):
        if local(shape) == "graphicFrame":
            rows = [element for element in shape.iter() if local(element) == "tr"]
            cells = [[_text(cell) for cell in row if local(cell) == "tc"] for row in rows]
            blocks += filter(None, [table(cells)])
            continue
        kind = next(
            (element.get("type", "") for element in shape.iter() if local(element) == "ph"), ""
        )
        if kind in _FURNITURE:
            continue
        lines = list(_lines(shape))
        if kind in _TITLES and not title:
            title = " ".join(line.strip(" -") for line in lines)
        elif lines:
            blocks.append("\n".join(lines))
    return title, blocks


def _shapes(slide: Element) -> Iterator[Element]:
    return (element for element in slide.iter() if local(element) in ("sp", "graphicFrame"))


def _lines(shape: Element) -> Iterator[str]:
    paragraphs = [element for element in shape.iter() if local(element) == "p"]
    for paragraph in paragraphs:
        if text := escaped(_text(paragraph)):
            level = next(
                (element.get("lvl", "0") for element in paragraph if local(element) == "pPr"), "0"
            )
            depth = min(8, int(level)) if level.isdigit() else 0
            yield f"{'  ' * depth}- {text}" if len(paragraphs) > 1 else text


def _text(element: Element) -> str:
    return "".join(
        (node.text or "") if local(node) == "t" else " "
        for node in element.iter()
        if local(node) in ("t", "br", "p", "tab")
    )


def _relations(archive: Archive, name: str) -> dict[str, tuple[str, str]]:
    """The type and target of each relation of a member."""
    folder, _, base = name.rpartition("/")
    file = f"{folder}/_rels/{base}.rels"
    if file not in archive.names:
        return {}
    relations = {}
    for element in archive.xml(file):
        if element.get("TargetMode") != "External":
            target = unquote(element.get("Target", ""))
            member = posixpath.normpath(posixpath.join("/" + folder, target)).lstrip("/")
            relations[element.get("Id", "")] = (element.get("Type", "").rpartition("/")[2], member)
    return relations
