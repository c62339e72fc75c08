"""`askdocs eval check`: measure how well the answer check separates good from bad sentences."""

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from askdocs.commands.options import JsonOption
from eval.report import html, plots
from eval.studies import check as measuring


def check(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Labelled answers, JSON lines: question, pages, answer, kind, sentences.",
        ),
    ],
    docs: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder that the paths in `pages` are relative to."),
    ],
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only rows of this split.")
    ] = None,
    checker_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Also use this model: base URL of its API, with /v1."),
    ] = None,
    judges: Annotated[
        str, typer.Option(metavar="ENDPOINT", help="chat, rerank, score or classify.")
    ] = "chat",
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Score below which the model marks a sentence (default: marks 4 % of "
            "supported sentences).",
        ),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Evaluate the model without the rules.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write the measures and the ROC curve to this page."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate the answer check on labelled answers.

    AUC, false alarms on supported sentences, recall by kind of mistake, refusals, time.
    """
    answers, wiki = measuring.read(file, split), measuring.Wiki(docs)
    if checker_url:
        model = measuring.Model(checker_url, judges, os.environ.get("OPENAI_API_KEY"))
        found = asyncio.run(measuring.with_model(answers, wiki, model, threshold, alone))
    else:
        found = measuring.measures(asyncio.run(measuring.check(answers, wiki)))
    if report:
        by = f"{checker_url} ({judges})" if checker_url else "The rules"
        report.write_text(page(str(file), by, found), encoding="utf-8")
    if as_json:
        print(json.dumps(found, default=asdict, indent=2))
        return
    for line in lines(found):
        print(line)


def page(file: str, by: str, found: dict[str, Any]) -> str:
    """The report."""
    drawn = [plots.roc(found["roc"], found["used"])] if found["roc"] else []
    return html.check(file, by, found["answers"], rows(found), drawn)


def lines(found: dict[str, Any]) -> list[str]:
    """The measures for people."""
    counted = f"{found['answers']} answers, {found['sentences']} sentences"
    return [counted, *(f"{name:<34} {value}" for name, value in rows(found))]


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The measures and their values."""
    names = {
        "auc": "AUC, supported or not",
        "false_alarms": "supported sentences marked",
        "good_unmarked": "good answers with nothing marked",
        "good_not_refused": "good answers kept",
        "partial_not_refused": "honest half-answers kept",
        "refusals_recognised": "refusals recognised",
        "hallucinations_caught": "hallucinations marked or refused",
        "wrong_marked": "wrong sentences marked",
    }
    result = []
    for name, label in names.items():
        value = found[name]
        result.append((label, f"{value:.3f}" if isinstance(value, float) else str(value)))
    result += [(f"  {kind}", str(value)) for kind, value in found["wrong_by_kind"].items()]
    if "threshold" in found:
        result.append(("threshold", f"{found['threshold']:.3f}"))
    return [*result, ("time per sentence", f"{found['ms_per_sentence']:.1f} ms")]
