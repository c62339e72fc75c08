"""Measures retrieval: recall@k and nDCG of the retrieved chunks' pages."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.systems.rag.settings import RagSettings

FILE = "results.jsonl"
_STRICT = ConfigDict(frozen=True, extra="forbid")


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

    def rank(self, gold: Sequence[Collection[str]]) -> tuple[float, float, float]:
        """Sort key, larger is better: recall, then nDCG, then fewer tokens. `gold` is by
        question."""
        pairs = list(zip(self.found, gold, strict=True))
        recall = sum(hit(row.pages, pages) for row, pages in pairs)
        gain = sum(ndcg(row.pages, pages, self.settings.keep) for row, pages in pairs)
        return recall, round(gain, 9), -sum(row.tokens for row in self.found)


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
