"""`askdocs dataset draft`: draft questions and answers from the wiki's pages."""

import asyncio
import json
import os
from collections import Counter
from itertools import islice
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
from eval.questions import rows as files
from gateway.answering import scorers
from gateway.settings import GatewaySettings
from training.data import draft as drafting
from training.data.build import public, wiki_of
from training.data.ground import Teacher
from wiki.search.search import Search

if TYPE_CHECKING:
    from wiki.index.index import Index
    from wiki.sources.sync import Progress


def draft(
    docs: WikiOption,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="New file of the drafts, .jsonl.")
    ] = None,
    like: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Existing rows, test included: their style is copied, their questions are not; "
            "can be repeated.",
        ),
    ] = None,
    teacher: TeacherOption = None,
    model: TeacherModelOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of drafts to ask for (default: all).")
    ] = None,
    at_once: AtOnceOption = 4,
    max_tokens: Annotated[
        int, typer.Option(min=16, max=8192, help="Maximum tokens of a draft.")
    ] = 700,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cost; send and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Draft questions and answers with another model, and keep those that pass the checks.

    The pages are sent to the teacher. An interrupted run resumes. Review the drafts before you
    train on them.
    """
    settings = load(GatewaySettings)
    if not dry_run and not (out and teacher and model):
        raise AskdocsError(
            "name the new file and the teacher: --out FILE.jsonl --teacher URL --model NAME, or"
            " see the cost first with --dry-run"
        )
    if out is not None:
        refuse_existing(out)
    known = [row for file in like or () for row in files.read(file)]
    examples = drafting.examples_of(known)
    wiki = wiki_of(docs, settings)
    writer = Teacher(
        teacher or "", model or "", os.environ.get("OPENAI_API_KEY"), max_tokens, at_once
    )

    async def work_through(view: "Index", progress: "Progress") -> dict[str, Any]:
        wanted = list(islice(drafting.tasks(list(view.pages())), limit))
        drafting.refuse_empty(wanted)
        facts: dict[str, Any] = {
            "asked": len(wanted),
            "prompt_tokens": drafting.tokens(wanted, examples),
            "completion_tokens_at_most": len(wanted) * max_tokens,
            "outcomes": {},
        }
        if dry_run or out is None:
            return facts
        scorer = scorers.load(settings, os.environ)
        journal = out.with_name(f"{out.name}.journal")
        try:
            keep = drafting.Filter(Search(view, None), view.idf, scorer, known)
            done = await drafting.draft(wanted, keep, writer, examples, journal, progress)
        finally:
            if scorer:
                await scorer.close()
        rows = [draft.row(writer.model) for draft in done if draft.outcome == "drafted"]
        write_new(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        journal.unlink()
        outcomes = Counter(draft.outcome for draft in done)
        kinds = Counter(draft.task.kind for draft in done if draft.outcome == "drafted")
        return {**facts, "outcomes": outcomes, "kinds": kinds, "file": str(out)}

    with (
        TemporaryDirectory() as place,
        Bar() as bar,
        public(wiki, Path(place), bar.show) as (view, _),
    ):
        facts = asyncio.run(work_through(view, bar.show))
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    print(
        f"requests    {facts['asked']:,}, with about {facts['prompt_tokens']:,} tokens read and at"
        f" most {facts['completion_tokens_at_most']:,} written; each near miss that passes takes"
        " one more"
    )
    for outcome, count in facts["outcomes"].items():
        print(f"{outcome:12} {count:,}")
    if "file" in facts:
        print(
            f"{facts['file']}: {facts['outcomes']['drafted']:,} rows; review them before training"
        )
    else:
        print("dry run: nothing was asked or written")
