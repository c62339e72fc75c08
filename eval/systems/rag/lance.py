"""LanceDB: an embedded store with full-text (BM25) and vector search.

Imported only in the environment `eval`, which has the library.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.query import MatchQuery

from eval.systems.rag.fusion import Vectors

# Rows per batch: a few megabytes of vectors.
_ROWS = 4096


class Texts:
    """The chunks by number, with full-text search and one vector each."""

    def __init__(self, folder: Path) -> None:
        self._table = lancedb.connect(folder).open_table("chunks")

    @staticmethod
    def build(folder: Path, texts: Sequence[str], vectors: Vectors) -> None:
        """Store `texts` and their vectors, [len(texts), size]; stemming and stop words are
        English."""
        table = _write(folder, "chunks", range(len(texts)), vectors, texts)
        table.create_fts_index("text", language="English", stem=True, remove_stop_words=True)

    def match(self, question: str, n: int) -> list[int]:
        """The `n` best chunks by BM25 with at least one word of the question."""
        query = self._table.search(MatchQuery(question, "text")).select(["number", "_score"])
        rows = query.limit(n).to_arrow().to_pylist()
        rows.sort(key=lambda row: (-row["_score"], row["number"]))
        return [row["number"] for row in rows]

    def vectors(self, numbers: Sequence[int]) -> Vectors:
        """[len(numbers), size], in their order. `numbers` must be distinct."""
        listed = ", ".join(map(str, numbers))
        query = self._table.search().where(f"number IN ({listed})").limit(len(numbers))
        by_number = {row["number"]: row["vector"] for row in query.to_arrow().to_pylist()}
        return np.array([by_number[number] for number in numbers], dtype=np.float32)


class Windows:
    """The vectors of the chunks' windows."""

    def __init__(self, folder: Path) -> None:
        self._table = lancedb.connect(folder).open_table("windows")

    @staticmethod
    def build(folder: Path, owners: Sequence[int], vectors: Vectors) -> None:
        """Args:
        folder: the store.
        owners: the chunk of each window.
        vectors: each window's vector, [len(owners), size].
        """
        _write(folder, "windows", owners, vectors)

    def nearest(self, vector: Vectors, n: int) -> list[int]:
        """The chunks of the `n` windows with the highest cosine, each once; exact, without an
        index."""
        query = self._table.search(vector).distance_type("cosine").select(["number", "_distance"])
        rows = query.limit(n).to_arrow().to_pylist()
        rows.sort(key=lambda row: (row["_distance"], row["number"]))
        return list(dict.fromkeys(row["number"] for row in rows))


def _write(
    folder: Path,
    name: str,
    numbers: Sequence[int],
    vectors: Vectors,
    texts: Sequence[str] | None = None,
) -> lancedb.table.Table:
    fields = [
        pa.field("number", pa.int32()),
        pa.field("vector", pa.list_(pa.float32(), vectors.shape[1])),
    ]
    if texts is not None:
        fields.append(pa.field("text", pa.string()))
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(numbers), _ROWS):
            part = slice(start, start + _ROWS)
            flat = pa.array(vectors[part].ravel(), pa.float32())
            columns = [
                pa.array(list(numbers[part]), pa.int32()),
                pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            ]
            if texts is not None:
                columns.append(pa.array(list(texts[part]), pa.string()))
            yield pa.record_batch(columns, schema=schema)

    return lancedb.connect(folder).create_table(name, batches(), schema=schema)
