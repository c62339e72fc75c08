"""Opens untrusted ZIP archives (documents, a benchmark's corpus), protected against ZIP bombs.

A member is never unpacked beyond the size in the archive's directory, so these sizes bound the work
(https://docs.python.org/3/library/zipfile.html#decompression-pitfalls). The library's `read` of a
whole member unpacks all of it, and then cuts off the excess; its `read` of a number of bytes
unpacks no more than these.
"""

import io
import zipfile
import zlib
from copy import copy
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

MEMBERS = 20_000
# Maximum unpacked bytes of all XML and HTML of one document. Images are not read.
LARGEST = 64 * 2**20
# Methods that the library can unpack in parts; for bzip2 and LZMA, it unpacks all data of one read.
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PARTS = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx", ".bin")


class Archive:
    """An archive of which only members with certain suffixes are read."""

    def __init__(
        self,
        source: bytes | Path,
        suffixes: tuple[str, ...] = _PARTS,
        members: int | None = None,
        largest: int | None = None,
    ) -> None:
        """Raises ValueError: it is not an archive, has a password, or is too large unpacked."""
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise ValueError(f"cannot be unpacked: {error}") from None
        members, largest = members or MEMBERS, largest or LARGEST
        infos = self._zip.infolist()
        if len(infos) > members:
            raise ValueError(f"holds more than {members:,} files")
        parts = [info for info in infos if info.filename.lower().endswith(suffixes)]
        if sum(part.file_size for part in parts) > largest:
            raise ValueError(f"is larger than {largest // 2**20} MiB unpacked")
        if any(part.compress_type not in _BOUNDED for part in parts):
            raise ValueError("is packed in an unusual way: save it again")
        if any(part.flag_bits & 1 for part in parts):
            raise ValueError("has a password: save it without")
        self.names = frozenset(info.filename for info in infos)
        self._parts = {part.filename for part in parts}

    def read(self, name: str) -> bytes:
        """Reads a member. Raises ValueError: it is missing, or not text."""
        if name not in self._parts:
            raise ValueError(f"lacks {name}")
        try:
            size = self._zip.getinfo(name).file_size
            longer = copy(self._zip.getinfo(name))
            longer.file_size += 1  # otherwise the library hides data beyond the size
            with self._zip.open(longer) as member:
                data = member.read(longer.file_size)
        except (
            *(zipfile.BadZipFile, zlib.error, OSError, EOFError),
            *(NotImplementedError, RuntimeError),
        ) as error:
            raise ValueError(f"{name} cannot be unpacked: {error}") from None
        if len(data) > size:
            raise ValueError(f"{name} is larger than the archive's directory states")
        return data

    def check(self) -> None:
        """For libraries that unpack members themselves. Raises ValueError: a size is wrong."""
        for name in self._parts:
            self.read(name)

    def xml(self, name: str) -> Element:
        """Reads a member as a tree. Raises ValueError: it is missing, or not XML; see `parsed`."""
        return parsed(self.read(name), name)

    def refuse_document_types(self) -> None:
        """For libraries that parse members themselves. Raises ValueError."""
        for name in sorted(self._parts):
            if name.lower().endswith((".xml", ".rels")):
                self.xml(name)


class _Builder(TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        # It could define unlimited entities, and refer to files.
        raise ValueError("has an XML document type, which is not allowed")


def parsed(data: bytes, name: str) -> Element:
    """Parses XML into a tree. Raises ValueError: it is invalid, or has a document type."""
    parser = XMLParser(target=_Builder())  # noqa: S314 -- it refuses document types
    try:
        parser.feed(data)
        return parser.close()
    except ParseError as error:
        raise ValueError(f"{name} is not XML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def local(element: Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]
