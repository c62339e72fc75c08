"""The results of a sweep with intervals, compared with the first settings."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.statistics import bootstrap, paired
from eval.statistics.bootstrap import Estimate, finite, in_brackets
from eval.statistics.paired import Difference
from eval.systems.rag.measure import RetrievalResult, RetrievedPages, hit, ndcg
from eval.systems.rag.settings import RagSettings

Gold = Sequence[Collection[str]]


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


def row(
    configuration: str,
    results: Sequence[RetrievedPages],
    k: int,
    gold: Gold,
    base: Sequence[RetrievedPages],
) -> RetrievalRow:
    """Results of at most `k` pages for questions with pages `gold`, all in the same order."""
    hits = _hits(results, gold)
    gains = [ndcg(result.pages, pages, k) for result, pages in zip(results, gold, strict=True)]
    firsts = [hit(result.pages[:1], pages) for result, pages in zip(results, gold, strict=True)]
    tokens = float(np.mean([result.tokens for result in results]))
    return RetrievalRow(
        configuration=configuration,
        first=paired.share(firsts),
        recall=paired.share(hits),
        ndcg=bootstrap.mean(gains),
        tokens=tokens or None,
        milliseconds=1000 * float(np.median([result.seconds for result in results])),
        difference=paired.shares(hits, _hits(base, gold)),
    )


def rows(
    results: Sequence[RetrievalResult],
    gold: Gold,
    base: RagSettings,
    others: dict[str, tuple[int, Sequence[RetrievedPages]]],
) -> list[RetrievalRow]:
    """The results, best first, then other methods by name, with their maximum number of pages;
    `base` is among the results."""
    began = next(result.found for result in results if result.settings == base)
    ranked = sorted(results, key=lambda result: result.rank(gold), reverse=True)
    by_way = {
        _configuration(result.settings): (result.settings.keep, result.found) for result in ranked
    } | others
    return [
        row(name, results_of_name, k, gold, began) for name, (k, results_of_name) in by_way.items()
    ]


def markdown(table: Sequence[RetrievalRow]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| settings | recall@1 | in the prompt | difference | nDCG | tokens | ms |"
    yield "|---|---|---|---|---|---|---|"
    for line in table:
        tokens = "" if line.tokens is None else f"{line.tokens:,.0f}"
        yield (
            f"| {line.configuration} | {_cell(line.first)} | {_cell(line.recall)}"
            f" | {_versus(line.difference)} | {_cell(line.ndcg)} | {tokens}"
            f" | {line.milliseconds:,.0f} |"
        )


def facts(row: RetrievalRow) -> dict[str, Any]:
    """The rows for JSON."""
    return {
        key: [finite(part) for part in value] if isinstance(value, tuple) else value
        for key, value in vars(row).items()
    }


def _hits(results: Sequence[RetrievedPages], gold: Gold) -> list[float]:
    return [hit(result.pages, pages) for result, pages in zip(results, gold, strict=True)]


def _configuration(settings: RagSettings) -> str:
    names = {"rerank": "rerank", "mmr_after": "MMR after", "expand": "expand"}
    names |= {"decompose": "decompose", "hyde": "hyde"}
    more = [shown for name, shown in names.items() if getattr(settings, name)]
    size = f"{settings.chunk_tokens}/{settings.overlap}"
    room = f"{settings.keep} in {settings.budget:,}"
    return ", ".join([size, f"k {settings.k}", f"λ {settings.mmr_lambda:g}", *more, room])


def _cell(estimate: Estimate) -> str:
    def shown(value: float) -> str:
        return f"{value:.3f}".removeprefix("0")

    return f"{shown(estimate.value)} {in_brackets(estimate.low, estimate.high, shown)}"


def _versus(difference: Difference) -> str:
    if difference.p == 1 and not difference.value:
        return "0"
    return f"{difference.value:+.3f} (p {difference.p:.2f})"
