"""Caches vectors in a file, so that no text is embedded twice, even after a kill."""

import hashlib
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np

from eval.systems.rag.fusion import Vectors
from gateway.core.errors import AskdocsError

Embed = Callable[[Sequence[str]], Awaitable[Vectors]]
# Called with a step's name, the number of texts embedded, and the total.
Progress = Callable[[str, int, int | None], None]

# Texts per request: few enough that a kill loses little, and progress is visible.
AT_ONCE = 32


class VectorCache:
    """Vectors by model and text. Several processes may share the file."""

    def __init__(self, file: Path, model: str) -> None:
        """Raises AskdocsError: the file cannot be opened, or is not a cache."""
        self._model = model
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS vector (key BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise AskdocsError(
                f"{file}: vectors cannot be stored there ({error}): delete it, or name another "
                "folder"
            ) from None

    async def embed(self, texts: Sequence[str], embed: Embed, progress: Progress) -> Vectors:
        """The vectors of `texts`, [len(texts), size], each of length 1; requests only new ones.

        Raises the errors of `embed`; vectors received before are kept.
        """
        keys = [hashlib.sha256(f"{self._model}\0{text}".encode()).digest() for text in texts]
        stored = {key: data for key in dict.fromkeys(keys) if (data := self._get(key))}
        new = dict(zip(keys, texts, strict=True))
        missing = [(key, text) for key, text in new.items() if key not in stored]
        for start in range(0, len(missing), AT_ONCE):
            progress("embedding chunks", start, len(missing))
            part = missing[start : start + AT_ONCE]
            vectors = await embed([text for _, text in part])
            rows = [(key, row.tobytes()) for (key, _), row in zip(part, vectors, strict=True)]
            stored.update(rows)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO vector VALUES (?, ?)", rows)
            self._db.execute("COMMIT")
        if missing:
            progress("embedding chunks", len(missing), len(missing))
        return np.stack([np.frombuffer(stored[key], dtype=np.float32) for key in keys])

    def close(self) -> None:
        self._db.close()

    def _get(self, key: bytes) -> bytes | None:
        row = self._db.execute("SELECT data FROM vector WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None
