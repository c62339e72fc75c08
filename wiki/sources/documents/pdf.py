"""PDF files, read by PDFium: one section per page, under the headings of the outline.

The anchor `page=7` opens that page in browsers and PDF readers (RFC 8118, "open parameters").
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pypdfium2 as pdfium
from pypdfium2 import raw

from wiki.pages.page import Page, Section
from wiki.sources import sections
from wiki.sources.documents.made import NoText, section

PAGES = 5_000
# Maximum characters of all pages.
LARGEST = 16 * 2**20
SCANNED = (
    "scanned PDF: its pages are pictures without text; give it a text layer, for example with"
    " ocrmypdf"
)
# A page with an image and fewer characters is a scanned image.
_FEW = 20
_DEEPEST = 5
_HEADINGS = 10_000
# Lines at the edges of a page that may be a running head or foot, and the minimum number of pages
# to have them.
_EDGE = 2
_LEAST = 4
_ITEM = re.compile(r"(?:[-•●▪◦*–]|\(?\d{1,3}[.)]|[a-z][.)])\s")
# PDFium's characters for a hyphen at the end of a line.
_HYPHENS = ("\ufffe", "\xad", "\x02")
_ENDS = (".", "!", "?", ":", ";", "。", "！", "？")


class Heading(NamedTuple):
    """An entry of the outline."""

    level: int
    text: str
    page: int


def page(data: bytes, path: str, url: str) -> Page:
    """Read a PDF.

    Raises:
        NoText: it is scanned, or empty.
        ValueError: it is not a PDF, has a password, or too many pages.
    """
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "assword" in str(error):
            raise ValueError("has a password: save it without") from None
        raise ValueError(f"is not a readable PDF: {error}") from None
    try:
        count = len(document)
        if count > PAGES:
            raise ValueError(f"has {count:,} pages, more than {PAGES:,}: split it")
        texts, pictures = _texts(document)
        if not any(text.strip() for text in texts):
            raise NoText(SCANNED if pictures else "PDF without text")
        if len(pictures) * 2 > count:
            raise NoText(SCANNED)
        title = " ".join(document.get_metadata_value("Title").split())
        headings = list(_outline(document))
    finally:
        document.close()
    lines = _without_edges([text.splitlines() for text in texts])
    # Some programs use the file's name as the title.
    if not title or re.search(r"\.\w{2,4}$|^untitled|^microsoft word", title, re.IGNORECASE):
        title = sections.name(path)
    unread = [f"page {number + 1} is a picture without text" for number in pictures]
    sections_read = _sections(lines, headings)
    if unread:
        sections_read.append(section("Pages that could not be read", (), "\n".join(unread)))
    return Page(path, title, url, tuple(sections_read))


def _texts(document: pdfium.PdfDocument) -> tuple[list[str], list[int]]:
    """The text of each page, and the pages that are images."""
    texts: list[str] = []
    pictures: list[int] = []
    size = 0
    for number in range(len(document)):
        try:
            pdf_page = document[number]
        except pdfium.PdfiumError:
            texts.append("")
            continue
        inner = pdf_page.get_textpage()
        text = inner.get_text_range()
        size += len(text)
        if size > LARGEST:
            raise ValueError(f"has more than {LARGEST // 2**20} MiB of text: split it")
        texts.append(text)
        if len(text.strip()) < _FEW and _has_picture(pdf_page):
            pictures.append(number)
        inner.close()
        pdf_page.close()
    return texts, pictures


def _has_picture(pdf_page: pdfium.PdfPage) -> bool:
    return any(True for _ in pdf_page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3))


def _outline(document: pdfium.PdfDocument) -> Iterator[Heading]:
    for number, mark in enumerate(document.get_toc(max_depth=_DEEPEST)):
        if number == _HEADINGS:
            return
        target = mark.get_dest()
        at = target.get_index() if target else None
        text = " ".join((mark.get_title() or "").split())
        if text and at is not None and 0 <= at < len(document):
            yield Heading(mark.level, text, at)


def _without_edges(pages: list[list[str]]) -> list[list[str]]:
    """The lines of each page without running heads, feet and page numbers."""
    stripped = [[line.strip() for line in lines if line.strip()] for lines in pages]
    if len(pages) < _LEAST:
        return stripped

    def key(line: str) -> str:
        return re.sub(r"\d+", "0", line)[:200]

    counts = Counter(
        (place, key(line))
        for lines in stripped
        for place, edge in (("head", lines[:_EDGE]), ("foot", lines[-_EDGE:]))
        for line in edge
    )

    def runs(place: str, line: str) -> bool:
        return counts[place, key(line)] * 2 > len(pages)

    for lines in stripped:
        for _ in range(_EDGE):
            if len(lines) > _EDGE + 1 and runs("head", lines[0]):
                del lines[0]
            if len(lines) > _EDGE + 1 and runs("foot", lines[-1]):
                del lines[-1]
    return stripped


def _sections(pages: Sequence[list[str]], headings: Sequence[Heading]) -> list[Section]:
    result: list[Section] = []
    stack: list[Heading] = []
    by_page: dict[int, list[Heading]] = {}
    for heading in headings:
        by_page.setdefault(heading.page, []).append(heading)

    def add(number: int, lines: Sequence[str]) -> None:
        text = _paragraphs(lines)
        if not text:
            return
        names = [above.text for above in stack] or [f"Page {number + 1}"]
        result.append(section(names[-1], names[:-1], text, f"page={number + 1}"))

    for number, lines in enumerate(pages):
        at = 0
        for heading in by_page.get(number, ()):
            there, after = _place(lines, at, heading.text)
            add(number, lines[at:there])
            at = after
            while stack and stack[-1].level >= heading.level:
                stack.pop()
            stack.append(heading)
        add(number, lines[at:])
    return result


def _place(lines: Sequence[str], start: int, text: str) -> tuple[int, int]:
    """The position of a heading on its page: its first line, and the line after it."""
    wanted = _letters(text)
    for number in range(start, len(lines)):
        joined = ""
        for after in range(number, min(number + 3, len(lines))):
            joined += _letters(lines[after])
            if joined == wanted or (joined.endswith(wanted) and len(joined) < len(wanted) + 12):
                return number, after + 1
    return start, start


def _letters(text: str) -> str:
    return "".join(re.findall(r"\w", text[:500])).lower()


def _paragraphs(lines: Sequence[str]) -> str:
    """Joins lines into paragraphs: a full line continues on the next one."""
    if not lines:
        return ""
    widths = sorted(map(len, lines))
    full = widths[len(widths) * 3 // 4] * 0.75
    text = lines[0]
    before = lines[0]
    for line in lines[1:]:
        ends = len(before) < full or (before.endswith(_ENDS) and len(before) < full * 1.2)
        if _ITEM.match(line):
            text += f"\n{line}"
        elif ends:
            text += f"\n\n{line}"
        elif text.endswith(_HYPHENS) or (text.endswith("-") and line[:1].islower()):
            text = text[:-1] + line
        else:
            text += f" {line}"
        before = line
    return re.sub("[\ufffe\x02]", "", text)
