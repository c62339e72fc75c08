"""Measures retrieval: recall@k and nDCG of the retrieved chunks' pages."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.systems.rag.settings import RagSettings

FILE = "results.jsonl"
_STRICT = ConfigDict(frozen=True, extra="forbid")
Gold = Sequence[Collection[str]]
"""Paths of the pages that answer, by question."""


class RetrievedPages(BaseModel):
    """What was retrieved for a question."""

    model_config = _STRICT

    question: str
    """The question's id."""
    pages: tuple[str, ...]
    """Paths of the chunks' pages, the best first."""
    tokens: int
    """Tokens of the chunks."""
    seconds: float


class RetrievalResult(BaseModel):
    """The results of some settings for every question, in order."""

    model_config = _STRICT

    settings: RagSettings
    found: tuple[RetrievedPages, ...]

    def rank(self, gold: Gold) -> tuple[float, float, float]:
        """Sort key, larger is better: recall, then nDCG, then fewer tokens."""
        gain = sum(ndcgs(self.found, gold, self.settings.keep))
        return sum(hits(self.found, gold)), round(gain, 9), -sum(row.tokens for row in self.found)


def hit(pages: Collection[str], gold: Collection[str]) -> float:
    """1 if a gold page was retrieved, else 0; the mean is recall@k."""
    return float(not set(gold).isdisjoint(pages))


def ndcg(pages: Sequence[str], gold: Collection[str], k: int) -> float:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002) with binary relevance.

    Args:
        pages: the retrieved pages, best first, without duplicates.
        gold: the gold pages, at least one.
        k: maximum number of retrieved pages.
    """
    gain = sum(1 / math.log2(rank + 1) for rank, page in enumerate(pages, 1) if page in gold)
    most = min(k, len(gold))
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, most + 1))


def read(folder: Path) -> list[RetrievalResult]:
    """Read a sweep's results so far. Skips a truncated line."""
    try:
        lines = (folder / FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    results = []
    for line in lines:
        try:
            results.append(RetrievalResult.model_validate_json(line))
        except ValidationError:
            continue
    return results


def hits(found: Sequence[RetrievedPages], gold: Gold) -> list[float]:
    return [hit(row.pages, pages) for row, pages in zip(found, gold, strict=True)]


def ndcgs(found: Sequence[RetrievedPages], gold: Gold, k: int) -> list[float]:
    return [ndcg(row.pages, pages, k) for row, pages in zip(found, gold, strict=True)]
