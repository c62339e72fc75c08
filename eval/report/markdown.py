"""Renders report.md: the numbers of a report, for a wiki or a pull request.

It quotes neither answers nor pages, which belong to their authors; report.html has them.
"""

import re
from collections.abc import Iterator, Sequence

from eval.report import front, tables
from eval.report.report import Report
from eval.report.tables import Table

_SPECIAL = re.compile(r"([\\|`*\[\]<>#])")


def markdown(report: Report) -> str:
    """The whole page."""
    return "\n".join(_page(report))


def table(content: Table) -> str:
    """A table of cells without Markdown."""
    lines: list[Sequence[str]] = [content.head, ["---"] * len(content.head), *content.body]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _page(report: Report) -> Iterator[str]:
    yield f"# Report of {_plain(report.run)}\n\n**{_plain(front.sentence(report))}**\n"
    yield f"{_plain(tables.summary(report))}\n"
    yield f"## At a glance\n\n{table(front.at_a_glance(report))}\n"
    wrong = "not confirmed, or failed" if front.too_long(report) else "wrong or failed"
    head = ["answerable questions", "right", "refused", wrong]
    bars = [[n, f"{r:.1%}", f"{s:.1%}", f"{w:.1%}"] for n, r, w, s in front.outcomes(report)]
    yield f"{table(Table(head, bars))}\n"
    yield f"## Published claim\n\n{table(tables.claim(report))}\n\n{front.SOURCE} {tables.ONCE}\n"
    if words := tables.in_words(report):
        yield f"{_plain(words)}\n"
    if report.contrasts:
        contrasts = table(tables.compared(report.contrasts))
        yield f"## Declared contrasts\n\n{tables.DECLARED}\n\n{contrasts}\n"
    yield f"## Every system\n\n{table(tables.measured(report))}\n"
    yield (
        f"## {report.subject} beside the others\n\nExploratory, on the same questions. Shares are "
        "compared by McNemar's exact test, other measures by paired bootstrap; p is corrected by "
        "Holm over all comparisons of a measure. Detectable: the smallest true difference that "
        "this number of questions shows with a power of 80 %.\n"
    )
    yield f"{table(tables.compared(report.comparisons))}\n"
    yield f"## Groups of questions, {report.subject}\n\n{table(tables.groups(report))}\n"
    if report.agreements:
        yield f"## Agreement\n\n{table(tables.agreed(report))}\n"
    yield f"## Cost\n\n{table(tables.cost(report))}\n"
    yield f"{table(Table(['assumed', ''], tables.assumptions(report)))}\n"
    head = ["price", "US dollars", "read on", "where"]
    yield f"{table(Table(head, tables.prices(report)))}\n"
    yield f"## Provenance\n\n{table(Table(['', ''], tables.provenance(report)))}\n"


def _plain(text: str) -> str:
    """Text on one line, with Markdown and HTML escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()).replace("&", "&amp;"))
