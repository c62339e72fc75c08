"""Reads the documents in a wiki's folder that are neither Markdown nor HTML."""

import hashlib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from wiki.pages.page import Page
from wiki.sources import bounded
from wiki.sources.documents import openapi
from wiki.sources.documents.made import NoText
from wiki.sources.source import (
    COPY,
    NO_TEXT,
    Broken,
    Changed,
    Item,
    LeftOut,
    Unchanged,
)
from wiki.sources.tree import Tree

# Each module has a function `page`, and its own libraries, which the first such file loads.
READERS = {
    ".adoc": "asciidoc",
    ".asciidoc": "asciidoc",
    ".docx": "word",
    ".epub": "book",
    ".ipynb": "notebook",
    ".pdf": "pdf",
    ".pptx": "slides",
    ".rst": "rest",
    ".txt": "text",
    ".xlsx": "sheets",
}
# Maximum bytes of a file. Most of it may be images, which are not read.
LARGEST = 128 * 2**20
LARGEST_TEXT = 8 * 2**20
PACKED = ("book", "pdf", "sheets", "slides", "word")
# Increment it when documents are read differently, so that all are read again.
VERSION = 2
# Suffixes of files built from a text document, next to it.
_BUILT = (".html", ".htm", ".md", ".markdown")
_SOURCES = (".adoc", ".asciidoc", ".rst", ".txt")
WHY_NOT = {
    ".azw3": "Kindle book: save it as EPUB",
    ".creole": "Creole text: convert it to Markdown",
    ".csv": "table as text: save it as XLSX",
    ".djvu": "DjVu document: save it as PDF",
    ".doc": "old Word document: save it as DOCX",
    ".docm": "Word document with macros: save it as DOCX",
    ".eml": "e-mail: save it as PDF",
    ".key": "Keynote presentation: save it as PDF or PPTX",
    ".mediawiki": "MediaWiki text: convert it to Markdown",
    ".mht": "web archive: save it as PDF",
    ".mhtml": "web archive: save it as PDF",
    ".mobi": "Kindle book: save it as EPUB",
    ".msg": "e-mail: save it as PDF",
    ".numbers": "Numbers workbook: save it as XLSX",
    ".odp": "OpenDocument presentation: save it as PDF or PPTX",
    ".ods": "OpenDocument workbook: save it as XLSX",
    ".odt": "OpenDocument text: save it as DOCX",
    ".one": "OneNote section: save it as PDF",
    ".org": "Org text: convert it to Markdown",
    ".pages": "Pages document: save it as PDF or DOCX",
    ".pod": "Pod text: convert it to Markdown",
    ".ppsx": "slide show: save it as PPTX",
    ".ppt": "old presentation: save it as PPTX",
    ".pptm": "presentation with macros: save it as PPTX",
    ".rdoc": "RDoc text: convert it to Markdown",
    ".rtf": "rich text: save it as DOCX",
    ".tex": "LaTeX: name the PDF that is made of it",
    ".textile": "Textile text: convert it to Markdown",
    ".tsv": "table as text: save it as XLSX",
    ".vsd": "Visio drawing: save it as PDF",
    ".vsdx": "Visio drawing: save it as PDF",
    ".wiki": "MediaWiki text: convert it to Markdown",
    ".xls": "old workbook: save it as XLSX",
    ".xlsb": "binary workbook: save it as XLSX",
    ".xlsm": "workbook with macros: save it as XLSX",
    ".xps": "XPS document: save it as PDF",
    ".zip": "archive: unpack it",
}
# For programs rather than people.
_NO_TEXTS = ("ads.txt", "humans.txt", "llms-full.txt", "llms.txt", "robots.txt", "security.txt")
_NO_TEXTS_BEGIN = ("cmakelists", "constraints", "requirements")


def documents(tree: Tree) -> list[str]:
    """The paths of supported documents, in order."""
    return sorted(path for path in tree.files if _module(tree, path))


def unsupported(tree: Tree) -> str:
    """The first file in an unsupported format, with the fix; empty if there is none."""
    reasons = ((path, WHY_NOT.get(_suffix(path))) for path in sorted(tree.files))
    return next((f"{path} is {why}" for path, why in reasons if why), "")


def read(
    tree: Tree,
    paths: Sequence[str],
    address: Callable[[str], str | None],
    known: Mapping[str, str],
) -> Iterator[Item]:
    """Yields the pages of documents, and unsupported files among `paths` that people may miss.

    Args:
        tree: the folder.
        paths: its files.
        address: returns a file's address; None if it is not published.
        known: see `wiki.sources.source.Source.read`.
    """
    for path in sorted(paths):
        module = _module(tree, path)
        if not module:
            if why := WHY_NOT.get(_suffix(path)):
                yield LeftOut(path, why)
            continue
        stem = os.path.splitext(path)[0]
        if _suffix(path) in _SOURCES and any(stem + suffix in tree.files for suffix in _BUILT):
            yield LeftOut(path, COPY)
        elif (url := address(path)) is None:
            yield LeftOut(path, "not published")
        else:
            yield _read(tree, path, module, url, known.get(path, ""))


def _read(tree: Tree, path: str, module: str, url: str, stamp: str) -> Item:
    try:
        with bounded.page(path):
            data = tree.data(path, LARGEST if module in PACKED else LARGEST_TEXT)
            digest = hashlib.sha256(data).hexdigest()
            now = hashlib.sha256(f"{VERSION} {module} {url} {digest}".encode()).hexdigest()
            if now == stamp:
                return Unchanged(path)
            page = reader(module)(data, path, url)
    except NoText as error:
        return LeftOut(path, str(error))
    except Exception as error:  # third-party parsers may fail on a document
        return Broken(path, _why(error))
    return Changed(page, now) if page.has_text else LeftOut(path, NO_TEXT)


def reader(module: str) -> Callable[[bytes, str, str], Page]:
    """Loads a module of this folder with its libraries, and returns its function `page`."""
    loaded = importlib.import_module(f"wiki.sources.documents.{module}")
    return cast(Callable[[bytes, str, str], Page], loaded.page)


def _module(tree: Tree, path: str) -> str:
    """The reader module of a file; empty for other files."""
    suffix = _suffix(path)
    if suffix in openapi.SUFFIXES:
        return "openapi" if openapi.is_openapi(tree.beginning(path, openapi.LOOKED_AT)) else ""
    return "" if is_for_programs(path) else READERS.get(suffix, "")


def is_for_programs(path: str) -> bool:
    """Is it a text for programs?"""
    name = os.path.basename(path).lower()
    return _suffix(path) == ".txt" and (name in _NO_TEXTS or name.startswith(_NO_TEXTS_BEGIN))


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
