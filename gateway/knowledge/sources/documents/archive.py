"""Opens untrusted ZIP archives (office documents, books), protected against ZIP bombs.

A member is never unpacked beyond the size that the archive's directory gives for it, so the sizes
there bound the work (https://docs.python.org/3/library/zipfile.html#decompression-pitfalls).
"""

import io
import zipfile
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

MEMBERS = 20_000
# Bytes of all XML and HTML of one document, unpacked. Pictures are not read.
LARGEST = 64 * 2**20
_PARTS = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx", ".bin")


class Archive:
    """One archive in memory."""

    def __init__(self, data: bytes) -> None:
        """Raises ValueError: it is no archive, has a password, or is too large unpacked."""
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise ValueError(f"cannot be unpacked: {error}") from None
        members = self._zip.infolist()
        if len(members) > MEMBERS:
            raise ValueError(f"holds more than {MEMBERS:,} files")
        parts = [one for one in members if one.filename.lower().endswith(_PARTS)]
        if sum(one.file_size for one in parts) > LARGEST:
            raise ValueError(f"is larger than {LARGEST // 2**20} MiB unpacked")
        if any(one.flag_bits & 1 for one in parts):
            raise ValueError("has a password: save it without")
        self.names = frozenset(one.filename for one in members)
        self._parts = {one.filename for one in parts}

    def read(self, name: str) -> bytes:
        """A member. Raises ValueError: it is not there, or is no text."""
        if name not in self._parts:
            raise ValueError(f"lacks {name}")
        try:
            return self._zip.read(name)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{name} cannot be unpacked: {error}") from None

    def xml(self, name: str) -> Element:
        """A member as a tree. Raises ValueError: it is not there, or no XML; see `parsed`."""
        return parsed(self.read(name), name)

    def refuse_document_types(self) -> None:
        """For libraries that parse the members themselves. Raises ValueError."""
        for name in sorted(self._parts):
            if name.lower().endswith((".xml", ".rels")):
                self.xml(name)


class _Builder(TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        # It could define entities without end, and name files.
        raise ValueError("has an XML document type, which is not allowed")


def parsed(data: bytes, name: str) -> Element:
    """XML as a tree. Raises ValueError: it is none, or has a document type."""
    parser = XMLParser(target=_Builder())  # noqa: S314 -- it refuses document types
    try:
        parser.feed(data)
        return parser.close()
    except ParseError as error:
        raise ValueError(f"{name} is no XML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def local(element: Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]
