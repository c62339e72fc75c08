"""`askdocs eval check`: measure how well the answer check separates good from bad sentences."""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models.registry import opened_store
from core.errors import AskdocsError
from core.settings import load
from eval.report import html, plots
from eval.scoring import check as measuring
from eval.scoring.check import LabelledAnswer, LabelledPages
from gateway.answering import scorers
from gateway.answering.claims import THRESHOLD
from gateway.answering.judge import Judge
from gateway.answering.scorers import Endpoint, Judges
from gateway.settings import RULES, GatewaySettings
from training.versions.manifest import Threshold, sha256

LEAST = 100  # supported sentences that a stored threshold is fitted on


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
    checker: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also use this judge of claims: an .onnx file."),
    ] = None,
    judges: Annotated[
        str, typer.Option(metavar="ENDPOINT", help="chat, rerank, score or classify.")
    ] = "chat",
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Score below which a sentence is marked (default: the one in use; with"
            " --checker, --checker-url or --version one that marks 4 % of supported sentences).",
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Version that wrote the answers: fit a threshold for the check of your settings,"
            " and store it with the version.",
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
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate the answer check on labelled answers.

    Prints AUC, false alarms on supported sentences, recall by kind of mistake, refusals, time.
    """
    if version and (checker or checker_url or alone):
        raise AskdocsError(
            "--version measures the check of your settings: leave out --checker, --checker-url and"
            " --alone"
        )
    if checker and checker_url:
        raise AskdocsError("name one checker: --checker or --checker-url")
    scorer = scorers.load(load(GatewaySettings), os.environ) if version else None
    if checker:
        scorer = Judge(checker, THRESHOLD)
    if checker_url:
        if judges not in get_args(Judges):
            raise AskdocsError(
                f"--judges {judges!r} is unknown: use one of {', '.join(get_args(Judges))}"
            )
        key = os.environ.get("OPENAI_API_KEY")
        name = f"{checker_url} ({judges})"
        scorer = Endpoint(checker_url, None, key, cast(Judges, judges), name=name)
    store = opened_store(home_dir) if version else None
    manifest = sha256(store.manifest_bytes(version)) if store and version else ""
    answers, wiki = measuring.read(file, split), measuring.LabelledPages(docs)
    by = scorer.name if scorer else RULES
    fits = scorer is not None or version is not None or threshold is not None
    measured = asyncio.run(_measured(answers, wiki, scorer, threshold, alone, fits))
    if store and version:
        if measured["supported"] < LEAST:
            raise AskdocsError(
                f"{file}: {measured['supported']} sentences labelled as supported have a score, and"
                f" a threshold needs {LEAST}: add answers of {version}"
            )
        store.add_threshold(
            version,
            Threshold(
                version=version,
                manifest_sha256=manifest,
                checker=by,
                value=measured["threshold"],
                false_alarms=measured["false_alarms"].value,
                supported=measured["supported"],
                answers_sha256=sha256(file.read_bytes()),
                made=datetime.now(UTC),
            ),
        )
    if report:
        report.write_text(page(str(file), by, measured), encoding="utf-8")
    if as_json:
        print(json.dumps(measured, default=asdict, indent=2))
        return
    for line in lines(measured):
        print(line)
    if store:
        print(f"stored with {version}, for {by}: promote it to use the threshold")


async def _measured(
    answers: Sequence[LabelledAnswer],
    wiki: LabelledPages,
    scorer: Endpoint | Judge | None,
    threshold: float | None,
    alone: bool,
    fits: bool,
) -> dict[str, Any]:
    if not fits:
        return measuring.measures(await measuring.check(answers, wiki))
    try:
        return await measuring.fitted(answers, wiki, scorer, threshold, alone)
    finally:
        if scorer:
            await scorer.close()


def page(file: str, by: str, measured: dict[str, Any]) -> str:
    """The report."""
    drawn = [plots.roc(measured["roc"], measured["used"])] if measured["roc"] else []
    return html.check(file, by, measured["answers"], rows(measured), drawn)


def lines(measured: dict[str, Any]) -> list[str]:
    """The measures for people."""
    counted = f"{measured['answers']} answers, {measured['sentences']} sentences"
    return [counted, *(f"{name:<34} {value}" for name, value in rows(measured))]


def rows(measured: dict[str, Any]) -> list[tuple[str, str]]:
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
        value = measured[name]
        result.append((label, f"{value:.3f}" if isinstance(value, float) else str(value)))
    result += [(f"  {kind}", str(value)) for kind, value in measured["wrong_by_kind"].items()]
    if "threshold" in measured:
        result.append(("threshold", f"{measured['threshold']:.3f}"))
    return [*result, ("time per sentence", f"{measured['ms_per_sentence']:.1f} ms")]
