"""Reuses the embeddings of pages that only changed their address or path."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

from gateway.knowledge.search.passages import embedded
from gateway.knowledge.search.vectors import Packed
from gateway.knowledge.wiki.page import Page

# Bytes that are held: of some 30,000 pages. What went first is worked out again.
MOST = 64 * 2**20


class Carried:
    """What the pages have left that one writer replaced or removed."""

    def __init__(self) -> None:
        self._left: OrderedDict[bytes, Mapping[str, Packed]] = OrderedDict()
        self._bytes = 0

    def leave(self, page: Page, packed: Mapping[str, Packed]) -> None:
        """A page goes, and these were its vectors, by model."""
        key = _key(page)
        self._bytes += _size(packed) - _size(self._left.pop(key, {}))
        self._left[key] = packed
        while self._bytes > MOST:
            self._bytes -= _size(self._left.popitem(last=False)[1])

    def of(self, page: Page) -> Mapping[str, Packed]:
        """The vectors, by model, of a page that went and said what this one says."""
        return self._left.get(_key(page), {}) if self._left else {}


def _size(packed: Mapping[str, Packed]) -> int:
    return sum(len(vectors.matrix) for vectors in packed.values())


def _key(page: Page) -> bytes:
    return hashlib.sha256("\0".join(embedded(page)).encode()).digest()
