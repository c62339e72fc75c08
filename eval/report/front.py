"""The first page of a report: for the person who decides."""

from eval.report import tables
from eval.report.claim import RAG, SHOWN, dollars
from eval.report.report import Comparison, Report
from eval.report.tables import Table
from eval.scoring.measures import ACCURACY

LONG = 40.0
"""Mean tokens of an answer above which words tell nothing about it, see docs, "instrument"."""
SOURCE = (
    "The published numbers are quoted from the article that made the claim,"
    " https://dev.to/johalputt/we-ditched-rag-20-for-fine-tuned-llam"
    "a-31-50-better-accuracy-for-internal-docs-53fn"
    ". Its questions and pages are internal, so nobody else can measure them, and it gives RAG an"
    " accuracy of 72 % in one sentence and of 59 % in another: take its numbers as a claim."
)


def sentence(report: Report) -> str:
    """What the declared contrasts come to, and how far accuracy can be trusted."""
    if not report.contrasts:
        found = "This run declared no contrast, so it decides nothing; all comparisons explore."
    else:
        product = [one for one in report.contrasts if _is_product(one)]
        training = [one for one in report.contrasts if not _is_product(one)]
        found = " ".join([*map(_result, product), *_training(training)])
    return f"{found}{_trust(report)}"


def _is_product(one: Comparison) -> bool:
    """Is it the product minus RAG?"""
    return one.second == RAG and one.first.endswith("-pages")


def _training(contrasts: list[Comparison]) -> list[str]:
    """The effect of training under each way of reading."""
    if len(contrasts) == 1:
        return [_result(*contrasts)]
    parts = [
        f"{word} with {', '.join(one.first.removeprefix('tuned-') for one in named)}"
        for says, word in (
            ("better", "helps"),
            ("worse", "harms"),
            ("within noise", "makes no difference beyond noise"),
        )
        if (named := [one for one in contrasts if one.says == says])
    ]
    return [f"Training {'; it '.join(parts)}."] if parts else []


def _result(one: Comparison) -> str:
    points = f"{100 * abs(one.value):.1f} points"
    ends = f"95 % confidence interval {100 * one.low:+.1f} to {100 * one.high:+.1f}"
    if one.says == "within noise":
        return (
            f"{one.first} and {one.second} do not differ beyond noise ({100 * one.value:+.1f}"
            f" points, {ends}; a true difference of {100 * tables.detectable(one):.0f} points"
            " would have been found four times out of five)."
        )
    more = "more" if one.says == "better" else "less"
    return f"{one.first} is {points} {more} accurate than {one.second} ({ends})."


def _trust(report: Report) -> str:
    subject = report.system(report.subject)
    length = subject.measures.get("completion_tokens") if subject else None
    if report.accuracy == ACCURACY and length and length.value > LONG:
        return (
            f" Accuracy is told by words, and these answers have {length.value:.0f} tokens on"
            " average: for such answers words tell nothing. Let judges look at them."
        )
    return ""


def at_a_glance(report: Report) -> Table:
    """Latency, tokens and cost of each system."""
    head = ["", "whole answer, p50", "p95", "tokens read", "own GPU: 1,000 questions", "hosted"]
    body = []
    for one in report.systems:
        shown = [
            SHOWN[unit](one.measures.get(name))
            for name, unit in (
                ("total_p50", "seconds"),
                ("total_p95", "seconds"),
                ("prompt_tokens", "tokens"),
            )
        ]
        prices = [dollars(price, "thousand", 2) for price in (one.own, one.hosted)]
        body.append([one.name, *shown, *prices])
    return Table(head, body)


def outcomes(report: Report) -> list[tuple[str, float, float, float]]:
    """Of answerable questions, by system: right, wrong (or failed), refused."""
    found = []
    for one in report.systems:
        right, refused = one.measures.get(report.accuracy), one.measures.get("false_refusals")
        if right and refused:
            wrong = max(0.0, 1 - right.value - refused.value)
            found.append((one.name, right.value, wrong, refused.value))
    return found
