"""The results of a sweep side by side, each with its interval, and against the first settings."""

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
    """One way to find what stands in front of questions."""

    configuration: str
    first: Estimate
    """Recall@1: the share of questions whose first page answers."""
    recall: Estimate
    """The share of questions with a page that answers in the prompt."""
    ndcg: Estimate
    tokens: float | None
    """In the prompt, the mean; None where it is not decided by what is found."""
    milliseconds: float
    """The median."""
    difference: Difference
    """Of recall, against the settings that the sweep began with."""


def row(
    configuration: str,
    results: Sequence[RetrievedPages],
    k: int,
    gold: Gold,
    base: Sequence[RetrievedPages],
) -> RetrievalRow:
    """What was found, `k` at most, for questions whose pages are `gold`, all in the same order."""
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
    """The results, best first, then other ways by name, with how many each finds at most; `base` is
    among the results."""
    began = next(result.found for result in results if result.settings == base)
    ranked = sorted(results, key=lambda result: result.rank(gold), reverse=True)
    by_way = {
        _configuration(result.settings): (result.settings.keep, result.found) for result in ranked
    } | others
    return [
        row(name, results_of_name, k, gold, began) for name, (k, results_of_name) in by_way.items()
    ]


def markdown(table: Sequence[RetrievalRow]) -> Iterator[str]:
    """Lines of it."""
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
    """As JSON has it."""
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
