"""Sitemaps: the addresses of a site's pages, as the site lists them (sitemaps.org)."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

# Both are the protocol's own bounds for one file.
LARGEST = 50 * 2**20
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Listed:
    """A page that a sitemap lists."""

    url: str
    changed: str
    """When it was changed last, as the sitemap writes it; empty where it does not."""


@dataclass(frozen=True)
class Sitemap:
    """One file: of pages, or of other sitemaps."""

    pages: tuple[Listed, ...]
    sitemaps: tuple[str, ...]


def parse(data: bytes) -> Sitemap:
    """Read a sitemap, packed or not.

    Raises:
        ValueError: it is none.
    """
    if data.startswith(_GZIP):
        data = _unpacked(data)
    # A sitemap has no document type, and one could define entities without end.
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("has a document type, which no sitemap has")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 -- without a document type it is safe
    except ElementTree.ParseError as error:
        raise ValueError(f"is no XML: {error}") from None
    kind = _local(root.tag)
    if kind not in ("urlset", "sitemapindex"):
        raise ValueError(f"is no sitemap: its root is <{kind}>")
    listed = []
    for entry in root:
        if isinstance(entry.tag, str) and _local(entry.tag) in ("url", "sitemap"):
            told = {_local(child.tag): (child.text or "").strip() for child in entry}
            if url := told.get("loc"):
                listed.append(Listed(url, told.get("lastmod", "")))
    if kind == "urlset":
        return Sitemap(tuple(listed), ())
    return Sitemap((), tuple(entry.url for entry in listed))


def every_page(start: list[str], get: Callable[[str], bytes | None]) -> list[Listed]:
    """The pages of some sitemaps and of those that they name, each once, in order.

    Args:
        start: addresses of sitemaps.
        get: gives a sitemap's content, None where there is none.

    Raises:
        ValueError: something that a sitemap names is none; the message has its address.
    """
    pages: dict[str, Listed] = {}
    pending = list(dict.fromkeys(start))
    seen = set(pending)
    while pending:
        address = pending.pop(0)
        data = get(address)
        if data is None:
            continue
        try:
            found = parse(data)
        except ValueError as error:
            if address in start:
                continue  # a page that says "not found", with 200
            raise ValueError(f"{address} {error}") from None
        for page in found.pages:
            pages.setdefault(page.url, page)
        for more in found.sitemaps:
            if more not in seen:
                seen.add(more)
                pending.append(more)
    return list(pages.values())


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, LARGEST)
    except zlib.error as error:
        raise ValueError(f"cannot be unpacked: {error}") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"is larger than {LARGEST // 2**20} MiB")
    return text


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]
