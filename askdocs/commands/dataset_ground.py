"""`askdocs dataset ground`: rewrite unsupported answers from their pages."""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.commands.feedback import refuse_existing, write_new
from askdocs.commands.options import (
    AtOnceOption,
    JsonOption,
    TeacherModelOption,
    TeacherOption,
    WikiOption,
)
from askdocs.terminal.bar import Bar
from core.errors import AskdocsError
from core.settings import load
from gateway.answering import scorers
from gateway.settings import GatewaySettings
from training.data import ground as grounding
from training.data.build import public, wiki_of

if TYPE_CHECKING:
    from wiki.index.index import Index
    from wiki.sources.sync import Progress


def ground(
    file: Annotated[Path, typer.Argument(help="Questions and answers: a qa_pairs.jsonl.")],
    docs: WikiOption,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="New file, .jsonl; the original is unchanged."),
    ] = None,
    teacher: TeacherOption = None,
    model: TeacherModelOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of rows to rewrite (default: all).")
    ] = None,
    at_once: AtOnceOption = 4,
    max_tokens: Annotated[
        int, typer.Option(min=16, max=8192, help="Maximum tokens of an answer.")
    ] = 700,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep rows with unsupported answers unchanged.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the rows; send and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rewrite unsupported answers with another model, and keep rewrites that pass the check.

    The pages and answers of these rows are sent to the teacher. An interrupted run resumes.
    """
    settings = load(GatewaySettings)
    if not dry_run and not (out and teacher and model):
        raise AskdocsError(
            "name the new file and the teacher: --out FILE.jsonl --teacher URL --model NAME, or"
            " count the rows first with --dry-run"
        )
    if out is not None:
        refuse_existing(out)
    wiki = wiki_of(docs, settings)

    async def work_through(view: "Index", progress: "Progress") -> dict[str, Any]:
        work = await grounding.look(file, list(view.pages()), view.idf, limit, progress)
        facts = {**work.counts(), "asked": len(work.asked), "outcomes": {}}
        if dry_run or out is None:
            return facts
        scorer = scorers.load(settings, os.environ)
        try:
            done = await grounding.ground(work, rewriter, scorer, _journal(out), progress)
        finally:
            if scorer:
                await scorer.close()
        rows = grounding.written(work, done, rewriter.model, keep)
        write_new(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        _journal(out).unlink()
        outcomes = Counter(outcome for outcome, _ in done.values())
        return {**facts, "outcomes": outcomes, "file": str(out), "written": len(rows)}

    key = os.environ.get("OPENAI_API_KEY")
    rewriter = grounding.Teacher(teacher or "", model or "", key, max_tokens, at_once)
    with (
        TemporaryDirectory() as place,
        Bar() as bar,
        public(wiki, Path(place), bar.show) as (view, _),
    ):
        facts = asyncio.run(work_through(view, bar.show))
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _show(facts)


def _journal(out: Path) -> Path:
    return out.with_name(f"{out.name}.journal")


def _show(facts: dict[str, Any]) -> None:
    claiming = facts["supported"] + facts["unsupported"]
    share = facts["supported"] / max(1, claiming)
    print(f"supported   {facts['supported']:,} of {claiming:,} answers ({share:.1%})")
    print(f"synthetic   {facts['synthetic']:,} rows, {facts['synthetic_confirmed']:,} confirmed")
    for outcome, count in facts["outcomes"].items():
        print(f"{outcome:16} {count:,}")
    if "file" in facts:
        print(f"{facts['file']}: {facts['written']:,} rows; review some before you train on them")
    else:
        print(f"would ask about {facts['asked']:,} rows (dry run: nothing was asked or written)")
