"""The vectors of all chunks of all pages, and which are nearest to a question's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
# The best chunks of a page that `Vectors` tells the similarity of.
CHUNKS = 3


class Packed(NamedTuple):
    """The vectors of one page as they are stored: n chunks."""

    scales: bytes
    """float32 [n]"""
    matrix: bytes
    """int8 [n, 384]: times its scale it is the vector."""
    bits: bytes
    """The signs, 48 bytes a chunk."""


def pack(matrix: Floats) -> Packed:
    """Eight bits a number: similarities are right to about 0.002."""
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    scales = np.maximum(np.abs(matrix).max(axis=1, initial=0.0), 1e-12) / 127
    small = np.rint(matrix / scales[:, None]).astype(np.int8)
    return Packed(
        scales.astype(np.float32).tobytes(), small.tobytes(), np.packbits(matrix > 0, 1).tobytes()
    )


def unpack(scales: bytes, matrix: bytes) -> Floats:
    """float32 [n, 384]"""
    scale = np.frombuffer(scales, dtype=np.float32)
    if not len(scale):
        return np.zeros((0, 0), np.float32)
    small = np.frombuffer(matrix, dtype=np.int8).reshape(len(scale), -1)
    return small * scale[:, None]


@dataclass(frozen=True)
class Vectors:
    """The vectors of one embedding model."""

    model: str
    pages: npt.NDArray[np.int64]
    """[n]: the number of the page that each chunk is of, ascending."""
    matrix: Floats
    """[n, 384]"""

    def best(self, query: Floats, limit: int) -> list[tuple[int, Floats]]:
        """The pages whose nearest chunk is nearest to `query` [384], best first: the number and
        the similarities of its best chunks [3], descending; of a shorter page the last repeats."""
        numbers, similarities = self._by_page(self.pages, self.matrix @ query)
        order = np.argsort(-similarities[:, 0], kind="stable")[:limit]
        return [(int(numbers[n]), similarities[n]) for n in order]

    def of(self, query: Floats, numbers: Iterable[int]) -> dict[int, Floats]:
        """The same similarities for these pages; those without vectors are left out."""
        wanted = np.isin(self.pages, np.fromiter(numbers, np.int64))
        found, similarities = self._by_page(self.pages[wanted], self.matrix[wanted] @ query)
        return {int(number): row for number, row in zip(found, similarities, strict=True)}

    @staticmethod
    def _by_page(
        pages: npt.NDArray[np.int64], similarities: Floats
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        if not len(pages):
            return pages, np.zeros((0, CHUNKS), np.float32)
        order = np.lexsort((-similarities, pages))
        numbers, starts, counts = np.unique(pages, return_index=True, return_counts=True)
        rank = np.minimum(np.arange(CHUNKS)[None, :], counts[:, None] - 1)
        return numbers, similarities[order][starts[:, None] + rank]


def assemble(model: str, rows: Sequence[tuple[int, bytes, bytes]]) -> Vectors:
    """From (page, scales, matrix), ascending."""
    parts = [(number, unpack(scales, matrix)) for number, scales, matrix in rows]
    parts = [(number, part) for number, part in parts if len(part)]
    pages = np.repeat(
        np.array([number for number, _ in parts], np.int64),
        np.array([len(part) for _, part in parts], np.int64),
    )
    matrix = np.concatenate([part for _, part in parts]) if parts else np.zeros((0, 1), np.float32)
    return Vectors(model, pages, matrix)
