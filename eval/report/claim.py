"""The claim's table: published values for both approaches, and this run's measurements."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from eval.report.cost import CostEstimate
from eval.report.report import Number, Report, System
from eval.statistics.bootstrap import in_brackets
from eval.systems.systems import Method, Role, parse
from eval.systems.systems import System as Kind

RAG = "base-rag"
COLUMNS = ("RAG 2.0, published", "tuned, published")
"""From the article with the claim, see `front.SOURCE`; a dash: not stated, or not in these terms;
its costs are those of all infrastructure."""
DASH = "–"


class ClaimRow(NamedTuple):
    """A line: the published cells, and a measured cell for each system of `beside`."""

    what: str
    published: tuple[str, str]
    measured: list[str]


def beside(report: Report) -> list[System]:
    """The systems of the measured columns: RAG with the base model, and the subject."""
    names = dict.fromkeys([RAG, report.subject])
    return [system for name in names if (system := report.system(name)) is not None]


def rows(report: Report) -> list[ClaimRow]:
    """The rows for the `beside` systems."""
    ours = beside(report)
    kinds = [parse([system.name])[0] for system in ours]

    def measure(name: str) -> list[Number | None]:
        return [system.measures.get(name) for system in ours]

    return [
        ClaimRow("accuracy", ("59 %", "89 %"), [share(n) for n in measure(report.accuracy)]),
        ClaimRow(
            "p99 of an answer", ("2,100 ms", "1,200 ms"), [ms(n) for n in measure("total_p99")]
        ),
        ClaimRow(
            "cost a month, own GPU",
            (DASH, DASH),
            [dollars(system.own, "month", 0) for system in ours],
        ),
        ClaimRow(
            "cost a month, hosted",
            (DASH, DASH),
            [dollars(system.hosted, "month", 0) for system in ours],
        ),
        ClaimRow(
            "memory on GPUs", ("32 GB", "16 GB"), [_gib(system.gpu_memory) for system in ours]
        ),
        ClaimRow("engine's processes, RSS", (DASH, DASH), [_gib(system.memory) for system in ours]),
        ClaimRow("index on disk", (DASH, DASH), [_mib(system.index) for system in ours]),
        ClaimRow(
            "input tokens of a question",
            (DASH, DASH),
            [tokens(n) for n in measure("prompt_tokens")],
        ),
        ClaimRow(
            "context window", (DASH, "131k tokens"), [_context(report, kind) for kind in kinds]
        ),
        ClaimRow("set-up", (DASH, DASH), [_setup(kind) for kind in kinds]),
        ClaimRow("maintenance", (DASH, DASH), [_maintenance(kind) for kind in kinds]),
    ]


def share(number: Number | None) -> str:
    return _with_interval(number, lambda value: f"{100 * value:.1f}", " %")


def score(number: Number | None) -> str:
    return _with_interval(number, "{:.3f}".format)


def ms(number: Number | None) -> str:
    return _with_interval(number, lambda value: f"{1000 * value:,.0f}", " ms")


def tokens(number: Number | None) -> str:
    return _with_interval(number, "{:,.0f}".format)


SHOWN = {"share": share, "score": score, "seconds": ms, "tokens": tokens}
"""A number with its interval, in the unit of its measure."""


def dollars(cost: CostEstimate | None, per: Literal["month", "thousand"], digits: int) -> str:
    if cost is None:
        return DASH
    parts = (cost, cost.low, cost.high)
    value, *ends = (f"{getattr(part, per):,.{digits}f}" for part in parts if part)
    return f"${value} ({' to '.join(ends) or 'no interval'})"


def _with_interval(number: Number | None, shown: Callable[[float], str], unit: str = "") -> str:
    if number is None:
        return DASH
    return f"{shown(number.value)}{unit} {in_brackets(number.low, number.high, shown)}"


def _gib(size: int | None) -> str:
    return DASH if size is None else f"{size / 2**30:.2f} GiB (one measurement)"


def _mib(size: int | None) -> str:
    return DASH if size is None else f"{size / 2**20:,.1f} MiB (one measurement)"


def _context(report: Report, kind: Kind) -> str:
    model = report.provenance.models.get(kind.role or "")
    return f"{model.context:,} tokens" if model and model.context else DASH


_READS: dict[Method, str] = {
    "rag": "chunks, their vectors in a store, rerank",
    "pages": "a search index of whole pages",
    "oracle": "a person who knows the page",
    "closed": "nothing besides the model",
}
_AGAIN: dict[Method, str] = {
    "rag": "embed changed pages again",
    "pages": "index changed pages again",
    "closed": "changed pages are never read",
}


def _setup(kind: Kind) -> str:
    return _joined(kind.role, _READS.get(kind.method, DASH), "a training run")


def _maintenance(kind: Kind) -> str:
    more = "train again to learn them" if kind.method == "closed" else "train again when it helps"
    return _joined(kind.role, _AGAIN.get(kind.method, DASH), more)


def _joined(role: Role | None, text: str, tuned: str) -> str:
    return f"{text}; {tuned}" if role == "tuned" else text
