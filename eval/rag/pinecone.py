"""Pinecone in the place of LanceDB's vectors; words are searched for in LanceDB all the same.

The key is in PINECONE_API_KEY, which its library reads. Of the index it needs the dimension of the
embedding model and the metric cosine. Each store has a namespace of its own there.

https://docs.pinecone.io/reference/api
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from eval.rag.fusion import Vectors
from gateway.errors import AskdocsError

# Vectors of one request: 2 MB is the most, and a number takes up to 20 bytes of JSON.
_AT_ONCE = 100
# Seconds until what was written must be there, and between two looks: it comes late.
_PATIENCE, _PAUSE = 120.0, 1.0


class Windows:
    """Vectors of the parts of chunks, in a namespace of an index."""

    def __init__(self, index: str, namespace: str) -> None:
        """Raises AskdocsError: there is no such index, or no key."""
        from pinecone import Pinecone

        self._where = f"Pinecone's index {index!r}"
        self._namespace = namespace
        with self._told():
            client = Pinecone()
            # An index with several vectors has none of its own.
            self._dimension = getattr(client.indexes.describe(index), "dimension", None)
            self._index = client.index(name=index)

    def fill(self, owners: Sequence[int], vectors: Vectors) -> None:
        """Write the vectors, [len(owners), size], of the parts of the chunks `owners`, and wait
        until they can be found.

        Raises AskdocsError: the index is of another dimension, cannot be written, or is too slow.
        """
        if self._dimension != vectors.shape[1]:
            raise AskdocsError(
                f"{self._where} has dimension {self._dimension}, and the embedding model"
                f" {vectors.shape[1]}: name another one as pinecone_index"
            )
        rows = zip(owners, vectors.tolist(), strict=True)
        with self._told():
            done = self._index.upsert(
                vectors=[
                    (str(part), vector, {"number": owner})
                    for part, (owner, vector) in enumerate(rows)
                ],
                namespace=self._namespace,
                batch_size=_AT_ONCE,
                show_progress=False,
            )
        if done.has_errors:
            raise AskdocsError(f"{self._where}: {done.errors[0]}")
        deadline = time.monotonic() + _PATIENCE
        while (there := self._count()) < len(owners):
            if time.monotonic() > deadline:
                raise AskdocsError(
                    f"{self._where} has {there:,} of {len(owners):,} vectors, {_PATIENCE:.0f} s"
                    " after they were written: try again later"
                )
            time.sleep(_PAUSE)

    def _count(self) -> int:
        with self._told():
            found = self._index.describe_index_stats().namespaces.get(self._namespace)
        return found.vector_count if found else 0

    def nearest(self, vector: Vectors, n: int) -> list[int]:
        """As `eval.rag.lance.Windows.nearest`. Raises AskdocsError: it does not answer."""
        with self._told():
            found = self._index.query(
                vector=vector.tolist(),
                top_k=n,
                namespace=self._namespace,
                include_metadata=True,
            )
        numbers = ((match.metadata or {}).get("number") for match in found.matches)
        return list(dict.fromkeys(int(number) for number in numbers if number is not None))

    @contextmanager
    def _told(self) -> Iterator[None]:
        from pinecone import PineconeError

        try:
            yield
        except PineconeError as error:
            raise AskdocsError(f"{self._where}: {' '.join(str(error).split())}") from None
