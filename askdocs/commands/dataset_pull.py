"""`askdocs dataset pull`: export answers that writers approved as training rows."""

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from askdocs.commands import feedback
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.state import audit, database
from askdocs.wikis.index import index_file
from core.errors import AskdocsError
from widget.review.rows import LeftOut
from widget.review.rows import pull as pulled
from widget.review.wiki import ReviewIndex

LISTED = 10  # of what is left out


def pull(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="New file, one JSON object per line.")
    ] = None,
    since: feedback.SinceOption = None,
    dry_run: feedback.DryRunOption = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the answers approved in the review to a file of valid training rows."""
    if out is None and not dry_run:
        raise AskdocsError("name the new file: --out FILE.jsonl, or look first with --dry-run")
    if out is not None:
        feedback.refuse_existing(out)
    file = index_file(home_dir)
    with database.opened(home_dir) as engine, closing(ReviewIndex(file, engine)) as wiki:
        pulled_rows = list(pulled(engine, wiki, feedback.since_moment(since)))
    left_out = [row for row in pulled_rows if isinstance(row, LeftOut)]
    rows = [row for row in pulled_rows if not isinstance(row, LeftOut)]
    written = bool(rows) and not dry_run
    if written and out is not None:
        audit.note(home_dir, "answers.export", out.name, rows=len(rows))
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        feedback.write_new(out, "".join(lines))
    if as_json:
        facts = {
            "file": str(out) if written else None,
            "rows": len(rows),
            "clusters": len({row["cluster"] for row in rows}),
            "left_out": [vars(skipped) for skipped in left_out],
        }
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for skipped in left_out[:LISTED]:
        typer.echo(
            f"left out: cluster {skipped.cluster}: {skipped.question[:80]!r} {skipped.why}",
            err=True,
        )
    if len(left_out) > LISTED:
        typer.echo(f"and {len(left_out) - LISTED:,} more; --json lists them", err=True)
    if not rows:
        print("no approved answers: writers approve them at /review of the widget")
    elif dry_run:
        print(f"would write {len(rows):,} rows (dry run: nothing was written)")
    else:
        print(f"{out}: {len(rows):,} rows; `askdocs dataset check {out}` checks them")
