"""Renders report.html: a self-contained file."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.report import front, tables
from eval.report.plots import Plot, plots
from eval.report.plots import front as front_plots
from eval.report.report import Report

TEMPLATE = "report.html.j2"


def check(
    file: str, by: str, answers: int, rows: Sequence[tuple[str, str]], plots: Sequence[Plot]
) -> str:
    """The page of `askdocs eval check`."""
    return (
        _environment()
        .get_template("check.html.j2")
        .render(file=file, by=by, answers=answers, rows=rows, plots=plots)
    )


def html(report: Report) -> str:
    """The whole page. Text from models and wikis is escaped."""
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            sentence=front.sentence(report),
            glance=front.at_a_glance(report),
            front_plots=front_plots(report),
            source=front.SOURCE,
            summary=tables.summary(report),
            claim=tables.claim(report),
            once=tables.ONCE,
            in_words=tables.in_words(report),
            plots=plots(report),
            measured=tables.measured(report),
            contrasts=tables.compared(report.contrasts),
            declared=tables.DECLARED,
            compared=tables.compared(report.comparisons),
            groups=tables.groups(report),
            agreed=tables.agreed(report),
            cost=tables.cost(report),
            assumptions=tables.assumptions(report),
            prices=tables.prices(report),
            provenance=tables.provenance(report),
        )
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
