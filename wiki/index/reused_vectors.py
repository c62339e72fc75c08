"""Reuses the embeddings of pages that only changed their address or path."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

from wiki.index.passages import embedded
from wiki.index.vectors import Packed
from wiki.pages.page import Page

# Maximum bytes held: some 30,000 pages. Older vectors are computed again.
MOST = 64 * 2**20


class Carried:
    """The vectors of pages that one writer has replaced or removed."""

    def __init__(self) -> None:
        self._left: OrderedDict[bytes, Mapping[str, Packed]] = OrderedDict()
        self._bytes = 0

    def leave(self, page: Page, packed: Mapping[str, Packed]) -> None:
        """Keep the vectors, by model, of a page that is removed."""
        key = _key(page)
        self._bytes += _size(packed) - _size(self._left.pop(key, {}))
        self._left[key] = packed
        while self._bytes > MOST:
            self._bytes -= _size(self._left.popitem(last=False)[1])

    def of(self, page: Page) -> Mapping[str, Packed]:
        """The vectors, by model, of a removed page with the same text."""
        return self._left.get(_key(page), {}) if self._left else {}


def _size(packed: Mapping[str, Packed]) -> int:
    return sum(len(vectors.matrix) for vectors in packed.values())


def _key(page: Page) -> bytes:
    return hashlib.sha256("\0".join(embedded(page)).encode()).digest()
