"""Vectors of pages that go, for pages that come and say the same: one that only has another address
or path need not be embedded again."""

import hashlib
from collections import OrderedDict

from gateway.search.passages import embedded
from gateway.search.vectors import Packed
from gateway.wiki.page import Page

# Bytes that are held: of some 30,000 pages. What went first is worked out again.
MOST = 64 * 2**20


class Carried:
    """What the pages have left that one writer replaced or removed."""

    def __init__(self) -> None:
        self._left: OrderedDict[bytes, tuple[str, Packed]] = OrderedDict()
        self._bytes = 0

    def leave(self, page: Page, model: str, packed: Packed) -> None:
        """A page goes, and these were its vectors."""
        key = _key(page)
        if key not in self._left:
            self._bytes += len(packed.matrix)
        self._left[key] = model, packed
        while self._bytes > MOST:
            _, (_, gone) = self._left.popitem(last=False)
            self._bytes -= len(gone.matrix)

    def of(self, page: Page) -> tuple[str, Packed] | None:
        """The model and the vectors of a page that went and said what this one says."""
        return self._left.get(_key(page)) if self._left else None


def _key(page: Page) -> bytes:
    return hashlib.sha256("\0".join(embedded(page)).encode()).digest()
