"""The results of a sweep with intervals, compared with the first settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.statistics import bootstrap, paired
from eval.statistics.bootstrap import Estimate, finite, in_brackets
from eval.statistics.paired import Difference
from eval.systems.rag import measure
from eval.systems.rag.measure import Gold, RetrievalResult, RetrievedPages
from eval.systems.rag.settings import RagSettings


@dataclass(frozen=True)
class RetrievalRow:
    """A way to retrieve."""

    configuration: str
    first: Estimate
    """Recall@1: the share of questions whose first page is gold."""
    recall: Estimate
    """The share of questions with a gold page in the prompt."""
    ndcg: Estimate
    tokens: float | None
    """Mean tokens in the prompt; None if retrieval does not determine them."""
    milliseconds: float
    """Median."""
    difference: Difference
    """Difference in recall from the sweep's first settings."""

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            key: [finite(part) for part in value] if isinstance(value, tuple) else value
            for key, value in vars(self).items()
        }


def rows(
    results: Sequence[RetrievalResult],
    gold: Gold,
    base: RagSettings,
    others: dict[str, tuple[int, Sequence[RetrievedPages]]],
) -> list[RetrievalRow]:
    """The results, best first, then other methods by name, with their maximum number of pages;
    `base` is among the results."""
    began = measure.hits(next(result.found for result in results if result.settings == base), gold)
    ranked = sorted(results, key=lambda result: result.rank(gold), reverse=True)
    by_way = {
        _configuration(result.settings): (result.settings.keep, result.found) for result in ranked
    }
    table = []
    for name, (k, found) in (by_way | others).items():
        hits = measure.hits(found, gold)
        firsts = [measure.hit(row.pages[:1], pages) for row, pages in zip(found, gold, strict=True)]
        table.append(
            RetrievalRow(
                configuration=name,
                first=paired.share(firsts),
                recall=paired.share(hits),
                ndcg=bootstrap.mean(measure.ndcgs(found, gold, k)),
                tokens=float(np.mean([row.tokens for row in found])) or None,
                milliseconds=1000 * float(np.median([row.seconds for row in found])),
                difference=paired.shares(hits, began),
            )
        )
    return table


def markdown(table: Sequence[RetrievalRow]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| settings | recall@1 | in the prompt | difference | nDCG | tokens | ms |"
    yield "|---|---|---|---|---|---|---|"
    for row in table:
        tokens = "" if row.tokens is None else f"{row.tokens:,.0f}"
        difference = f"{row.difference.value:+.3f} (p {row.difference.p:.2f})"
        yield (
            f"| {row.configuration} | {_cell(row.first)} | {_cell(row.recall)} | {difference}"
            f" | {_cell(row.ndcg)} | {tokens} | {row.milliseconds:,.0f} |"
        )


def _configuration(settings: RagSettings) -> str:
    switches = ("rerank", "expand", "decompose", "hyde")
    return ", ".join(
        [
            f"{settings.chunk_tokens}/{settings.overlap}",
            f"k {settings.k}",
            f"λ {settings.mmr_lambda:g}",
            *(name for name in switches if getattr(settings, name)),
            f"{settings.keep} in {settings.budget:,}",
        ]
    )


def _cell(estimate: Estimate) -> str:
    def shown(value: float) -> str:
        return f"{value:.3f}".removeprefix("0")

    return f"{shown(estimate.value)} {in_brackets(estimate.low, estimate.high, shown)}"
