"""Pinecone as the vector store; full-text search stays in LanceDB.

Its library reads the key from PINECONE_API_KEY. The index must have the embedding model's dimension
and the metric cosine. Each store uses its own namespace.

https://docs.pinecone.io/reference/api
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from eval.systems.rag.fusion import Vectors
from gateway.core.errors import AskdocsError

# Limits of a request: docs.pinecone.io/reference/api/database-limits/operation-limits
_BYTES, _VECTORS = 2_000_000, 1000
# Maximum bytes of JSON per number, and for the rest of a vector.
_NUMBER, _BESIDE = 25, 100
# Seconds until written vectors must be visible, and between two checks: consistency is eventual.
_PATIENCE, _PAUSE = 120.0, 1.0


def at_once(size: int) -> int:
    """Maximum vectors of `size` numbers per request."""
    return min(_VECTORS, _BYTES // (_NUMBER * size + _BESIDE))


class Windows:
    """The vectors of the chunks' windows, in a namespace of an index."""

    def __init__(self, index: str, namespace: str) -> None:
        """Raises AskdocsError: the index or the key is missing."""
        from pinecone import Pinecone

        self._where = f"Pinecone's index {index!r}"
        self._namespace = namespace
        with self._reported_errors():
            client = Pinecone()
            # An index with several vectors per record has no dimension of its own.
            self._dimension = getattr(client.indexes.describe(index), "dimension", None)
            self._index = client.index(name=index)

    def fill(self, owners: Sequence[int], vectors: Vectors) -> None:
        """Write the vectors, [len(owners), size], of windows of the chunks `owners`, and wait until
        they are searchable.

        Raises AskdocsError: the index has another dimension, cannot be written, or is too slow.
        """
        if self._dimension != vectors.shape[1]:
            raise AskdocsError(
                f"{self._where} has dimension {self._dimension}, the embedding model "
                f"{vectors.shape[1]}: name another pinecone_index"
            )
        rows = zip(owners, vectors.tolist(), strict=True)
        with self._reported_errors():
            done = self._index.upsert(
                vectors=[
                    (str(part), vector, {"number": owner})
                    for part, (owner, vector) in enumerate(rows)
                ],
                namespace=self._namespace,
                batch_size=at_once(vectors.shape[1]),
                show_progress=False,
            )
        if done.has_errors:
            raise AskdocsError(f"{self._where}: {done.errors[0].error_message}")
        deadline = time.monotonic() + _PATIENCE
        while (there := self.count()) < len(owners):
            if time.monotonic() > deadline:
                raise AskdocsError(
                    f"{self._where} has {there:,} of {len(owners):,} vectors, {_PATIENCE:.0f} s "
                    "after the write: try again later"
                )
            time.sleep(_PAUSE)

    def count(self) -> int:
        """Number of searchable vectors. Raises AskdocsError: the index does not answer."""
        with self._reported_errors():
            namespace = self._index.describe_index_stats().namespaces.get(self._namespace)
        return namespace.vector_count if namespace else 0

    def nearest(self, vector: Vectors, n: int) -> list[int]:
        """As `eval.systems.rag.lance.Windows.nearest`.

        Raises AskdocsError: the index does not answer, or has lost the vectors.
        """
        with self._reported_errors():
            reply = self._index.query(
                vector=vector.tolist(),
                top_k=n,
                namespace=self._namespace,
                include_metadata=True,
            )
        if not reply.matches:
            raise AskdocsError(
                f"{self._where} has lost the vectors in its namespace {self._namespace!r}: the "
                "next start writes them again"
            )
        numbers = ((match.metadata or {}).get("number") for match in reply.matches)
        return list(dict.fromkeys(int(number) for number in numbers if number is not None))

    @contextmanager
    def _reported_errors(self) -> Iterator[None]:
        from pinecone import PineconeError

        try:
            yield
        except PineconeError as error:
            raise AskdocsError(f"{self._where}: {' '.join(str(error).split())}") from None
