"""Reads files that a service stores with its pages, by their content.

A file's name and media type were typed by a user or guessed by a browser. They only decide whether
the file is worth a download; the content decides which reader is used. Text does not reveal its
format, so it also needs a supported suffix, or logs and keys would become pages.
"""

import os
from dataclasses import replace

from wiki.pages.page import Page
from wiki.sources.documents import openapi, reading
from wiki.sources.documents.archive import Archive
from wiki.sources.documents.made import NoText

# For packed formats, a member that all their files contain.
_MEMBERS = {
    "word/document.xml": "word",
    "ppt/presentation.xml": "slides",
    "xl/workbook.xml": "sheets",
    "META-INF/container.xml": "book",
}
_OFFICE = "application/vnd.openxmlformats-officedocument."
_TYPES = (_OFFICE, "application/pdf", "application/epub+zip")
# The mark of a PDF is within its first bytes (ISO 32000-1, Annex H.3, note 13).
_HEAD = 1024
_TEXTS = ("asciidoc", "notebook", "rest", "text")
OTHER = "attachment of an unsupported type"


def why_not(name: str, media_type: str, size: int) -> str:
    """The reason not to download a file, from the service's metadata; empty if it is downloaded."""
    suffix = os.path.splitext(name)[1].lower()
    if why := reading.WHY_NOT.get(suffix):
        return why
    wanted = suffix in reading.READERS or suffix in openapi.SUFFIXES
    is_skipped = name.startswith(".") or reading.is_for_programs(name)
    if is_skipped or not (wanted or media_type.startswith(_TYPES)):
        return OTHER
    return f"larger than {reading.LARGEST // 2**20} MiB" if size > reading.LARGEST else ""


def page(data: bytes, name: str, path: str, url: str) -> Page:
    """Read a file.

    Raises:
        NoText: its format is not supported, or it has no text.
        ValueError: it cannot be read, or is a web page instead of the file.
    """
    module = _module(data, os.path.splitext(name)[1].lower())
    if module not in reading.PACKED and len(data) > reading.LARGEST_TEXT:
        raise NoText(f"text that is larger than {reading.LARGEST_TEXT // 2**20} MiB")
    # Readers derive a title from the file's name.
    return replace(reading.reader(module)(data, name, url), path=path)


def _module(data: bytes, suffix: str) -> str:
    """The reader module of a file."""
    head = data[:_HEAD]
    if b"%PDF-" in head:
        return "pdf"
    if head.startswith(b"PK\3\4"):
        names = Archive(data).names
        modules = [module for member, module in _MEMBERS.items() if member in names]
        if not modules:
            raise NoText(OTHER)
        return modules[0]
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        raise ValueError("the service sent a web page in place of the file")
    if suffix in openapi.SUFFIXES:
        if openapi.is_openapi(data[: openapi.LOOKED_AT]):
            return "openapi"
        raise NoText(OTHER)
    named = reading.READERS.get(suffix, "")
    # Text contains no NUL, except UTF-16 with a byte order mark.
    is_text = b"\0" not in head or head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if named not in _TEXTS or not is_text:
        raise NoText("attachment whose content does not match its file type")
    return named
