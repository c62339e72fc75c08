"""The first page of a report, for decision makers."""

from eval.report import tables
from eval.report.claim import RAG, SHOWN, dollars
from eval.report.report import Comparison, Report
from eval.report.tables import Table
from eval.scoring.measures import ACCURACY, HALLUCINATED

LONG, LONG_WORDS = 40.0, 30.0
"""Mean tokens and words of answers above which word comparison is meaningless
(research/notebook.md#accuracy-of-the-evaluations-scores)."""
SOURCE = (
    "The published numbers are quoted from the article that made the claim,"
    " https://dev.to/johalputt/we-ditched-rag-20-for-fine-tuned-llam"
    "a-31-50-better-accuracy-for-internal-docs-53fn"
    ". Its questions and pages are internal, so nobody else can measure them, and it gives RAG an"
    " accuracy of 72 % in one sentence and of 59 % in another: take its numbers as a claim."
)


def sentence(report: Report) -> str:
    """The results of the declared contrasts, and the reliability of accuracy."""
    if not report.contrasts:
        findings = "No contrast was declared, so this run is exploratory."
    else:
        product = [contrast for contrast in report.contrasts if _is_product(contrast)]
        training = [contrast for contrast in report.contrasts if not _is_product(contrast)]
        findings = " ".join([*map(_result, product), *_training(training)])
    return f"{findings}{_trust(report)}"


def _is_product(comparison: Comparison) -> bool:
    """Is it the product minus RAG?"""
    return comparison.second == RAG and comparison.first.endswith("-pages")


def _training(contrasts: list[Comparison]) -> list[str]:
    """The effect of training for each way of reading."""
    if len(contrasts) == 1:
        return [_result(*contrasts)]
    parts = [
        f"{word} with {', '.join(contrast.first.removeprefix('tuned-') for contrast in named)}"
        for says, word in (
            ("better", "helps"),
            ("worse", "harms"),
            ("within noise", "makes no significant difference"),
        )
        if (named := [contrast for contrast in contrasts if contrast.says == says])
    ]
    return [f"Training {'; it '.join(parts)}."] if parts else []


def _result(contrast: Comparison) -> str:
    points = f"{100 * abs(contrast.value):.1f} points"
    ends = f"95 % confidence interval {100 * contrast.low:+.1f} to {100 * contrast.high:+.1f}"
    if contrast.says == "within noise":
        return (
            f"{contrast.first} and {contrast.second} do not differ significantly "
            f"({100 * contrast.value:+.1f} points, {ends}; a true difference of"
            f" {100 * tables.detectable(contrast):.0f} points would have been found with a power "
            "of 80 %)."
        )
    more = "more" if contrast.says == "better" else "less"
    return f"{contrast.first} is {points} {more} accurate than {contrast.second} ({ends})."


def _trust(report: Report) -> str:
    if length := too_long(report):
        return (
            f" Accuracy is decided by word comparison, which says nothing about answers as long as"
            f" these ({length} on average): let judges decide (--judge-model)."
        )
    return ""


def too_long(report: Report) -> str:
    """The length of answers, if it is too long for the word comparison used; else empty."""
    if report.accuracy != ACCURACY:
        return ""
    subject = report.system(report.subject)
    tokens = subject.measures.get("completion_tokens") if subject else None
    if tokens and tokens.value > LONG:
        return f"{tokens.value:.0f} tokens"
    return f"{report.answer_words:.0f} words" if report.answer_words > LONG_WORDS else ""


def at_a_glance(report: Report) -> Table:
    """Hallucinated answers, groundedness if measured, latency, tokens and cost."""
    columns = [
        (head, name, unit)
        for head, name, unit in (
            ("hallucinated (unanswerable questions)", HALLUCINATED, "share"),
            ("groundedness", "groundedness", "score"),
            ("whole answer, p50", "total_p50", "seconds"),
            ("p95", "total_p95", "seconds"),
            ("input tokens", "prompt_tokens", "tokens"),
        )
        if any(name in system.measures for system in report.systems)
    ]
    head = ["system", *(head for head, *_ in columns), "own GPU: 1,000 questions", "hosted"]
    body = []
    for system in report.systems:
        shown = [SHOWN[unit](system.measures.get(name)) for _, name, unit in columns]
        prices = [dollars(price, "thousand", 2) for price in (system.own, system.hosted)]
        body.append([system.name, *shown, *prices])
    return Table(head, body)


def outcomes(report: Report) -> list[tuple[str, float, float, float]]:
    """Outcomes of answerable questions, by system: right, wrong (or failed), refused."""
    shares = []
    for system in report.systems:
        right, refused = system.measures.get(report.accuracy), system.measures.get("false_refusals")
        if right and refused:
            wrong = max(0.0, 1 - right.value - refused.value)
            shares.append((system.name, right.value, wrong, refused.value))
    return shares
