"""Plain text files."""

import codecs

from wiki.pages.page import Page, Section
from wiki.sources import sections
from wiki.sources.document import scrubbed
from wiki.sources.tree import decode

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def page(data: bytes, path: str, url: str) -> Page:
    """Read a text. Raises ValueError: it is neither UTF-8 nor UTF-16 with a byte order mark."""
    if data.startswith(_WIDE):
        data = data.decode("utf-16").encode()
    text = scrubbed(decode(data)).strip()
    read = (Section("", "", (), text),) if text else ()
    return Page(path, sections.name(path), url, read)
