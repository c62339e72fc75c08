"""Parses sitemaps, a site's own list of its pages (sitemaps.org)."""

import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from xml.parsers import expat

# The protocol's limit for one file.
LARGEST = 50 * 2**20
# Limits for all files of a site. The protocol does not allow nested indexes; some sites have them.
FILES = 1_000
PAGES = 1_000_000
DEEPEST = 3
SECONDS = 1_800.0
_GZIP = b"\x1f\x8b"
# The protocol limits an address to 2,048 characters.
_LONGEST = 8_192


@dataclass(frozen=True)
class Listed:
    """A page that a sitemap lists."""

    url: str
    changed: str
    """The date of the last change in the sitemap's format; empty if missing."""


@dataclass(frozen=True)
class Sitemap:
    """One file, which lists pages or other sitemaps."""

    pages: tuple[Listed, ...]
    sitemaps: tuple[str, ...]


def parse(data: bytes) -> Sitemap:
    """Read a sitemap, compressed or not.

    Raises:
        ValueError: it is not a sitemap, or larger than the protocol allows.
    """
    if data.startswith(_GZIP):
        data = _unpacked(data)
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"is not XML: {error}") from None
    if reader.kind == "urlset":
        return Sitemap(tuple(reader.listed), ())
    return Sitemap((), tuple(entry.url for entry in reader.listed))


class _Reader:
    """Collects the entries while expat parses, without a tree in memory.

    expat reports a document type in every encoding that it supports. A search for `<!DOCTYPE` in
    the bytes would miss UTF-16.
    """

    def __init__(self) -> None:
        self.kind = ""
        self.listed: list[Listed] = []
        self._path: list[str] = []
        self._texts: dict[str, str] = {}
        self.parser = expat.ParserCreate(namespace_separator="}")
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _doctype(self, *_: object) -> None:
        # It could define unlimited entities, and fetch files.
        raise ValueError("has a document type, which sitemaps must not have")

    def _start(self, tag: str, _: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        if not self._path:
            self.kind = name
            if name not in ("urlset", "sitemapindex"):
                raise ValueError(f"is not a sitemap: its root is <{name[:100]}>")
        self._path.append(name)
        if len(self._path) > 100:
            raise ValueError("is not a sitemap: its elements are nested more than 100 deep")

    def _text(self, text: str) -> None:
        if self._is_entry() and (name := self._path[-1]) in ("loc", "lastmod"):
            self._texts[name] = (self._texts.get(name, "") + text)[:_LONGEST]

    def _end(self, _: str) -> None:
        self._path.pop()
        if len(self._path) == 1 and (url := self._texts.get("loc", "").strip()):
            if len(self.listed) == PAGES:
                raise ValueError(f"lists more than {PAGES:,} addresses")
            self.listed.append(Listed(url, self._texts.get("lastmod", "").strip()))
        if len(self._path) <= 1:
            self._texts = {}

    def _is_entry(self) -> bool:
        return len(self._path) == 3 and self._path[1] in ("url", "sitemap")


def every_page(start: list[str], get: Callable[[str], bytes | None]) -> list[Listed]:
    """The pages of sitemaps and of the sitemaps that they list, each once, in order.

    Args:
        start: addresses of sitemaps.
        get: returns a sitemap's content, or None if it does not exist.

    Raises:
        ValueError: a listed file is not a sitemap, or they exceed FILES, PAGES, DEEPEST or
            SECONDS; the message has the address.
    """
    ends = time.monotonic() + SECONDS
    pages: dict[str, Listed] = {}
    pending = deque((address, 1) for address in dict.fromkeys(start))
    seen = {address for address, _ in pending}
    while pending:
        address, depth = pending.popleft()
        data = get(address)
        if data is None:
            continue
        try:
            sitemap = parse(data)
        except ValueError as error:
            if address in start:
                continue  # a "not found" page with status 200
            raise ValueError(f"{address} {error}") from None
        for page in sitemap.pages:
            pages.setdefault(page.url, page)
        if sitemap.sitemaps and depth == DEEPEST:
            raise ValueError(f"{address} is an index of indexes of indexes: {_PART}")
        for more in sitemap.sitemaps:
            if more not in seen:
                seen.add(more)
                pending.append((more, depth + 1))
        if len(seen) > FILES:
            raise ValueError(f"{address} and others name more than {FILES:,} sitemaps: {_PART}")
        if len(pages) > PAGES:
            raise ValueError(f"{address} and others list more than {PAGES:,} pages: {_PART}")
        if time.monotonic() > ends and pending:
            raise ValueError(
                f"{address} was read, and {len(pending):,} more are waiting after"
                f" {SECONDS / 60:.0f} minutes: {_PART}"
            )
    return list(pages.values())


_PART = "name the address of a part of the site that has its own sitemap"


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, LARGEST)
    except zlib.error as error:
        raise ValueError(f"cannot be unpacked: {error}") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"is larger than {LARGEST // 2**20} MiB")
    return text
