"""`askdocs dataset prefer`: turn votes and reviews into pairs of answers for DPO."""

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from askdocs.commands import feedback
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models import model
from askdocs.state import audit, database
from askdocs.state import instructions as telling
from askdocs.terminal.bar import Bar
from askdocs.wikis.index import index_file
from core.errors import AskdocsError
from core.settings import load
from gateway.answering.grounding.ground import Grounding
from gateway.settings import GatewaySettings
from training.data import leaks
from training.data.prefer import PAIRS, Opinion
from training.data.prefer import prefer as preferred
from training.data.tokens import Tokens
from training.output import output
from widget.review.judged import judged
from widget.review.wiki import ReviewIndex
from wiki.index import embed
from wiki.index.index import Index
from wiki.index.view import Rights
from wiki.rights import PUBLIC


def prefer(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New or empty folder for the files.")
    ] = None,
    since: feedback.SinceOption = None,
    budget: Annotated[
        int | None,
        typer.Option(min=200, help="Tokens of pages in a prompt (default: gateway.page_budget)."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="tokenizer.json or GGUF of the model to train (default: bundled)."),
    ] = None,
    instructions: Annotated[
        Path | None,
        typer.Option(help="The alias's instructions file, as for `aliases set`."),
    ] = None,
    dry_run: feedback.DryRunOption = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write pairs of a preferred and a rejected answer, for `train --preferences` (DPO)."""
    if out is None and not dry_run:
        raise AskdocsError("name the new folder: --out DIR, or look first with --dry-run")
    settings, file = load(GatewaySettings), index_file(home_dir)
    start = feedback.since_moment(since)
    with database.opened(home_dir) as engine, closing(ReviewIndex(file, engine)) as wiki:
        opinions = [
            # As `feedback pull` writes it: its rows are in the same cluster.
            Opinion(
                "" if judgement.cluster is None else f"review-{judgement.cluster}", *judgement[1:]
            )
            for judgement in judged(engine, wiki, start)
        ]
    tokens = Tokens(tokenizer or Path(model.shipped().source))
    system_prompt = telling.read(instructions) if instructions else ""
    with closing(Index(file)) as whole, asyncio.Runner() as runner, Bar() as bar:
        bar.show("finding pages", 0, None)
        view = Rights(whole, settings.rules).seen_by(PUBLIC)
        grounding = Grounding(view, tokens.counts, embed.load())
        preferences = preferred(
            opinions,
            grounding,
            runner,
            budget or settings.page_budget,
            system_prompt,
        )
    if not dry_run and out is not None:
        with output(out, False, "name another --out DIR") as folder:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in preferences.pairs)
            (folder / PAIRS).write_text("".join(lines), encoding="utf-8")
            (folder / leaks.FILE).write_text(leaks.encoded(preferences.learnt), encoding="utf-8")
        audit.note(home_dir, "answers.export", out.name, rows=len(preferences.pairs))
    facts = {
        "folder": None if dry_run or out is None else str(out),
        "pairs": len(preferences.pairs),
        "questions": len(preferences.learnt),
        "unpaired": preferences.unpaired,
        "page_not_found": preferences.not_found,
    }
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    print(f"{facts['pairs']:,} pairs of answers to {facts['questions']:,} questions")
    if preferences.unpaired:
        print(f"{preferences.unpaired:,} questions are left out: they lack a good or a bad answer")
    if preferences.not_found:
        print(
            f"{preferences.not_found:,} questions were left out: the search does not find their "
            "page"
        )
    print(f"{out}: written" if facts["folder"] else "dry run: nothing was written")
