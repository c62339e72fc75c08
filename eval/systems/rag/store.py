"""The chunks of a wiki in LanceDB, an embedded database with hybrid search (BM25 and vectors).

Imported only in the environment `eval`, which has the library.
"""

import asyncio
import fcntl
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import FTS
from lancedb.rerankers import RRFReranker

from core.errors import AskdocsError
from eval.systems.rag.chunks import Chunk, Cutter
from eval.systems.rag.endpoints import Endpoints, Vectors
from eval.systems.rag.settings import RagSettings

# Called with a step's name, the number of texts embedded, and the total.
Progress = Callable[[str, int, int | None], None]

# Texts per request: few enough that a kill loses little, and progress is visible.
AT_ONCE = 32
# Increase it when the same settings produce other vectors.
_VERSION = 2


class Hit(NamedTuple):
    """A chunk that was found."""

    score: float
    """The sum of 1 / (60 + rank) over both searches (Cormack, Clarke & Büttcher 2009)."""
    vector: Vectors
    """Of its best window, [size], of length 1."""


class Store:
    """The windows of a wiki's chunks, each with its text and vector."""

    def __init__(self, folder: Path, most: int) -> None:
        """`most`: windows per chunk, at most."""
        self.folder = folder
        self._most = most
        self._table = lancedb.connect(folder).open_table("windows")
        self._fuse = RRFReranker()

    def search(self, text: str, vector: Vectors, n: int) -> dict[int, Hit]:
        """The `n` chunks that are best by words and vector, by number, the best first."""
        query = self._table.search(query_type="hybrid").vector(vector).text(text)
        query = query.distance_type("cosine").rerank(self._fuse).limit(n * self._most)
        rows = query.to_list()
        rows.sort(key=lambda row: (-row["_relevance_score"], row["chunk"]))
        found: dict[int, Hit] = {}
        for row in rows:
            hit = Hit(row["_relevance_score"], np.array(row["vector"], dtype=np.float32))
            found.setdefault(row["chunk"], hit)
        return dict(list(found.items())[:n])


async def opened(
    folder: Path,
    settings: RagSettings,
    cutter: Cutter,
    chunks: Sequence[Chunk],
    endpoints: Endpoints,
    progress: Progress,
) -> Store:
    """Open the store of these chunks and this embedding model; build it if there is none.

    After a kill, building goes on where it stopped. Only one process at a time builds.

    Raises:
        AskdocsError: the gateway does not embed, or the folder cannot be written.
    """
    parts = [cutter.windows(chunk, settings.embedding_tokens) for chunk in chunks]
    windows = [(number, text) for number, texts in enumerate(parts) for text in texts]
    about = (_VERSION, settings.embedding_model, settings.input_type, windows)
    place = folder / hashlib.sha256(repr(about).encode()).hexdigest()[:16]
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("a") as lock:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            await _build(place, windows, endpoints, progress)
    except OSError as error:
        raise AskdocsError(
            f"{folder}: vectors cannot be stored there ({error}): delete it, or name another folder"
        ) from None
    return Store(place, max(map(len, parts)))


async def _build(
    place: Path, windows: Sequence[tuple[int, str]], endpoints: Endpoints, progress: Progress
) -> None:
    """Add the windows that are missing. The rows are in the windows' order."""
    database = lancedb.connect(place)
    table = database.open_table("windows") if "windows" in database.table_names() else None
    done = table.count_rows() if table else 0
    for start in range(done, len(windows), AT_ONCE):
        progress("embedding chunks", start, len(windows))
        part = windows[start : start + AT_ONCE]
        vectors = await endpoints.embed([text for _, text in part], "search_document")
        size = vectors.shape[1]
        rows = pa.table(
            {
                "chunk": pa.array([number for number, _ in part], pa.int32()),
                "text": pa.array([text for _, text in part], pa.string()),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), size),
            }
        )
        if table is None:
            table = database.create_table("windows", rows)
        else:
            table.add(rows)
    if table and not table.list_indices():
        progress("embedding chunks", len(windows), len(windows))
        table.optimize()  # the many small parts
        table.create_index(
            "text", config=FTS(language="English", stem=True, remove_stop_words=True)
        )
