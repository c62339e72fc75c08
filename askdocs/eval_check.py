"""`askdocs eval check`: how well the check of answers tells good sentences from bad ones."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from askdocs.options import JsonOption


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
        typer.Option(metavar="FOLDER", help="Folder that the paths in `pages` begin in."),
    ],
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only rows of this split.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the check of answers on labelled answers.

    AUC, false alarms on supported sentences, recall by kind of mistake, refusals, time.
    """
    from eval import check as measuring

    answers = measuring.read(file, split)
    checked = asyncio.run(measuring.check(answers, measuring.Wiki(docs)))
    found = measuring.measures(checked)
    if as_json:
        print(json.dumps(found, default=asdict, indent=2))
        return
    for line in lines(found):
        print(line)


def lines(found: dict[str, Any]) -> list[str]:
    """The measures for people."""
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
    result = [f"{found['answers']} answers, {found['sentences']} sentences"]
    for name, label in names.items():
        value = found[name]
        result.append(f"{label:<34} {f'{value:.3f}' if isinstance(value, float) else value}")
    result += [f"  {kind:<32} {value}" for kind, value in found["wrong_by_kind"].items()]
    return [*result, f"{'time per sentence':<34} {found['ms_per_sentence']:.1f} ms"]
