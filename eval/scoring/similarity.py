"""How alike two texts are in meaning: the cosine of their vectors, worked out once for a run."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from gateway.search.embed import Embedder

FILE = "similar.jsonl"


class Similarity:
    """A `Similar` of eval.scoring.mark that keeps what it has worked out with the run.

    The vectors are those of all-MiniLM-L6-v2, which reads 256 tokens (Reimers & Gurevych 2019,
    https://arxiv.org/abs/1908.10084).
    """

    def __init__(self, run: Path, embedder: Embedder) -> None:
        self._file = run / FILE
        self._embedder = embedder
        # Of written answers, with which those of all contenders are compared.
        self._vector = lru_cache(maxsize=None)(lambda text: embedder.embed([text])[0])
        self._kept: dict[str, float] = {}
        if self._file.is_file():
            for line in self._file.read_bytes().splitlines():
                try:
                    row = json.loads(line)
                    self._kept[row["texts"]] = float(row["similarity"])
                except (ValueError, KeyError, TypeError):
                    continue  # the end of a file whose writer was killed

    def __call__(self, one: str, other: str) -> float:
        texts = [self._embedder.model, one, other]
        key = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]
        if key not in self._kept:
            (first,) = self._embedder.embed([one])
            self._kept[key] = round(float(first @ self._vector(other)), 4)
            with self._file.open("a", encoding="utf-8") as file:
                row = {"texts": key, "similarity": self._kept[key]}
                file.write(json.dumps(row) + "\n")
        return self._kept[key]
