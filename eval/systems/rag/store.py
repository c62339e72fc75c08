"""The store of a wiki's chunks, built once for the same chunks and settings."""

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from eval.systems.rag.chunks import Chunk, Cutter
from eval.systems.rag.endpoints import Endpoints
from eval.systems.rag.fusion import Vectors
from eval.systems.rag.settings import RagSettings
from eval.systems.rag.vector_cache import Progress, VectorCache
from gateway.core.errors import AskdocsError
from gateway.knowledge.search.embed import unit

if TYPE_CHECKING:
    from eval.systems.rag import lance

# Increase it when the same settings produce other chunks or vectors.
_VERSION = 1


@dataclass(frozen=True)
class Stored:
    """The chunks of a wiki by number, in a store."""

    texts: "lance.Texts"
    parts: "lance.Windows"
    most: int
    """Windows per chunk."""
    folder: Path

    def match(self, question: str, n: int) -> list[int]:
        return self.texts.match(question, n)

    def nearest(self, vector: Vectors, n: int) -> list[int]:
        """The `n` chunks with the nearest windows."""
        return self.parts.nearest(vector, n * self.most)[:n]

    def vectors(self, numbers: Sequence[int]) -> Vectors:
        return self.texts.vectors(numbers)


async def stored(
    folder: Path,
    settings: RagSettings,
    cutter: Cutter,
    chunks: Sequence[Chunk],
    endpoints: Endpoints,
    progress: Progress,
) -> Stored:
    """Open the store; build it if there is none for these chunks and settings.

    Only texts never embedded under `folder` are embedded: after a kill, or when pages changed, only
    the new texts. The store itself appears atomically.

    Raises:
        AskdocsError: the gateway does not embed, or the folder cannot be written.
    """
    from eval.systems.rag import lance

    windows = [cutter.windows(chunk, settings.embedding_tokens) for chunk in chunks]
    place = folder / _name(settings, chunks, windows)
    owners = [number for number, texts in enumerate(windows) for _ in texts]
    async with _claimed(folder):
        if not place.is_dir():
            vector_cache = VectorCache(
                folder / "vectors.db", f"{settings.embedding_model} {settings.input_type}"
            )
            embed = partial(endpoints.embed, input_type="search_document")
            try:
                texts = [text for texts in windows for text in texts]
                vectors = await vector_cache.embed(texts, embed, progress)
            finally:
                vector_cache.close()
            with _whole(place) as new:
                shown = [chunk.shown for chunk in chunks]
                lance.Texts.build(new, shown, _means(vectors, owners, len(chunks)))
                lance.Windows.build(new, owners, vectors)
    return Stored(lance.Texts(place), lance.Windows(place), max(map(len, windows)), place)


def _name(settings: RagSettings, chunks: Sequence[Chunk], windows: Sequence[Sequence[str]]) -> str:
    """A name derived from everything that determines the store's content."""
    made = hashlib.sha256()
    made.update(repr((_VERSION, settings.embedding_model, settings.input_type)).encode())
    for chunk, parts in zip(chunks, windows, strict=True):
        made.update(repr((chunk.page.path, chunk.start, chunk.text, parts)).encode())
    return made.hexdigest()[:16]


def _means(vectors: Vectors, owners: Sequence[int], count: int) -> Vectors:
    """The vector of each chunk: the normalised mean of its windows' vectors."""
    sums = np.zeros((count, vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, list(owners), vectors)
    return unit(sums)


@asynccontextmanager
async def _claimed(folder: Path) -> AsyncIterator[None]:
    """Only one process at a time builds stores here."""
    with _opened(folder) as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield


def _opened(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / "lock").open("a")
    except OSError as error:
        raise AskdocsError(
            f"{folder}: vectors cannot be stored there ({error.strerror}): name another folder"
        ) from None


@contextmanager
def _whole(place: Path) -> Iterator[Path]:
    """A new folder that becomes `place` at the end of the block. The caller holds the claim."""
    new = place.with_name(f"{place.name}.new")
    shutil.rmtree(new, ignore_errors=True)  # left by a killed process
    new.mkdir()
    yield new
    for path in [*new.rglob("*"), new]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    new.rename(place)
