"""How good chunks are that were found for questions: recall@k and nDCG of the pages they are of."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.systems.rag.settings import RagSettings

FILE = "results.jsonl"
_STRICT = ConfigDict(frozen=True, extra="forbid")


class RetrievedPages(BaseModel):
    """What was put in front of a question."""

    model_config = _STRICT

    question: str
    """Its id."""
    pages: tuple[str, ...]
    """Paths of the pages of the chunks, the best first."""
    tokens: int
    """Of the chunks."""
    seconds: float


class RetrievalResult(BaseModel):
    """What settings have found for every question, in their order."""

    model_config = _STRICT

    settings: RagSettings
    found: tuple[RetrievedPages, ...]

    def rank(self, gold: Sequence[Collection[str]]) -> tuple[float, float, float]:
        """Larger is better: recall, then nDCG, then fewer tokens. `gold` is by question."""
        pairs = list(zip(self.found, gold, strict=True))
        recall = sum(hit(row.pages, pages) for row, pages in pairs)
        gain = sum(ndcg(row.pages, pages, self.settings.keep) for row, pages in pairs)
        return recall, round(gain, 9), -sum(row.tokens for row in self.found)


def hit(pages: Collection[str], gold: Collection[str]) -> float:
    """Is one of the pages that answer among them? 1 or 0; the mean of it is recall@k."""
    return float(not set(gold).isdisjoint(pages))


def ndcg(pages: Sequence[str], gold: Collection[str], k: int) -> float:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002), a page counts or not.

    Args:
        pages: the best first, no two equal.
        gold: the pages that answer, at least one.
        k: pages that could have been found.
    """
    gain = sum(1 / math.log2(rank + 1) for rank, page in enumerate(pages, 1) if page in gold)
    most = min(k, len(gold))
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, most + 1))


def read(folder: Path) -> list[RetrievalResult]:
    """The results of a sweep so far. Half a line, of one that was killed, is passed over."""
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
