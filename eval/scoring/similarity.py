"""Semantic similarity of two texts: the cosine of their vectors, computed once per run."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from eval.running import lines
from wiki.index.embed import Embedder

FILE = "similar.jsonl"
Tell = Callable[[int, int], None]


class Similarity:
    """A `Similar` of eval.scoring.mark that stores its results with the run.

    The vectors are those of all-MiniLM-L6-v2, which reads 256 tokens (Reimers & Gurevych 2019,
    https://arxiv.org/abs/1908.10084).
    """

    def __init__(self, run: Path, embedder: Embedder) -> None:
        self._file = run / FILE
        self._embedder = embedder
        # Caches vectors of reference answers, which are compared with every system's answers.
        self._vector = lru_cache(maxsize=None)(lambda text: embedder.embed([text])[0])
        self._stored_cosines: dict[str, float] = {}
        if self._file.is_file():
            for line in self._file.read_bytes().splitlines():
                try:
                    row = json.loads(line)
                    self._stored_cosines[row["texts"]] = float(row["similarity"])
                except (ValueError, KeyError, TypeError):
                    continue  # a line truncated by a kill

    def compare(self, pairs: Iterable[tuple[str, str]], tell: Tell) -> None:
        """Compute missing similarities on all cores; calls `tell(done, total)`. Results are stored
        even if it is stopped."""
        new = {self._key(*pair): pair for pair in pairs}
        new = {key: pair for key, pair in new.items() if key not in self._stored_cosines}
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            cosines = pool.map(lambda pair: self._cosine(*pair), new.values())
            for done, (key, cosine) in enumerate(zip(new, cosines, strict=True), 1):
                self._keep(key, cosine)
                tell(done, len(new))
        finally:
            pool.shutdown(cancel_futures=True)

    def __call__(self, first: str, second: str) -> float:
        key = self._key(first, second)
        if key not in self._stored_cosines:
            self._keep(key, self._cosine(first, second))
        return self._stored_cosines[key]

    def _key(self, first: str, second: str) -> str:
        texts = [self._embedder.model, first, second]
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]

    def _cosine(self, first: str, second: str) -> float:
        (vector,) = self._embedder.embed([first])
        return round(float(vector @ self._vector(second)), 4)

    def _keep(self, key: str, cosine: float) -> None:
        self._stored_cosines[key] = cosine
        with lines.appending(self._file) as file:
            file.write(json.dumps({"texts": key, "similarity": cosine}).encode() + b"\n")
