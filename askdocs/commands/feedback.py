"""`askdocs feedback`: readers' questions and votes, gaps in the wiki, and data deletion.

They work on the database itself, whether or not a widget runs.
"""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.state import audit, database, home
from askdocs.terminal import table, times
from askdocs.terminal.bar import Bar
from askdocs.wikis.index import index_file
from core.errors import AskdocsError
from core.settings import load
from widget.review import csv_export, weeks
from widget.review import digest as digests
from widget.review.clusters import Sorter
from widget.review.export import COLUMNS, count, everything
from widget.review.gaps import find, sheet_of
from widget.review.wiki import ReviewIndex
from widget.service.store import Store
from widget.settings import WidgetSettings
from wiki.rights import EVERYTHING, PUBLIC

if TYPE_CHECKING:
    import sqlalchemy as sa

    from widget.review.gaps import Gaps

app = typer.Typer(
    help="Export or delete readers' questions, and list gaps in the wiki.", no_args_is_help=True
)
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")
]
SinceOption = Annotated[
    str | None, typer.Option(help="Start: a date (2026-05-31) or an age (30d).")
]
WeekOption = Annotated[
    str | None, typer.Option(help="One week, such as 2026-W48 (default: the last eight).")
]
WEEKS = 8
SHOWN = 30  # gaps in the terminal


@app.command()
def export(
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file, .jsonl or .csv.")],
    since: SinceOption = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write every question with its answer and votes to a file, without the readers' identities."""
    kind = out.suffix.lower()
    if kind not in (".jsonl", ".csv"):
        raise AskdocsError(f"--out {out}: name a file that ends with .jsonl or .csv")
    refuse_existing(out)
    start = since_moment(since)
    with database.opened(home_dir) as engine, Bar() as bar:
        total = count(engine, start)
        rows = []
        for number, row in enumerate(everything(engine, start)):
            if number % 1000 == 0:
                bar.show("reading", number, total)
            rows.append(row)
    if kind == ".csv":
        cells = ([" ".join(v) if isinstance(v, list) else v for v in row.values()] for row in rows)
        text = csv_export.write(COLUMNS, cells)
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    audit.note(home_dir, "questions.export", out.name, questions=len(rows))
    write_new(out, text)
    if as_json:
        print(json.dumps({"file": str(out), "questions": len(rows)}, indent=2))
    else:
        print(f"{out}: {len(rows):,} questions")


@app.command()
def gaps(
    week: WeekOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="New CSV file, instead of a table.")
    ] = None,
    send: Annotated[
        bool,
        typer.Option("--send", help="Send the last complete week to digest_webhook, once."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --send: print the message, and send nothing.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List questions that the wiki does not answer, most frequent first, with the closest pages."""
    if send:
        _send(week, dry_run, home_dir, as_json)
        return
    if out is not None:
        refuse_existing(out)
    last = weeks.parse(week) if week else weeks.monday(datetime.now(UTC).date())
    with _sorted(home_dir) as (engine, wiki):
        listed = find(engine, last, 1 if week else WEEKS, EVERYTHING, wiki)
    if out is not None:
        audit.note(home_dir, "gaps.export", out.name, gaps=len(listed.gaps))
        write_new(out, sheet_of(listed))
    if as_json:
        print(json.dumps(_facts(listed), indent=2, ensure_ascii=False))
    elif out is not None:
        print(f"{out}: {len(listed.gaps):,} gaps")
    else:
        _show(listed)


@app.command()
def forget(
    visitor: Annotated[str | None, typer.Option(help="Pseudonym of a visitor.")] = None,
    person: Annotated[str | None, typer.Option(help="Name of the person who asked.")] = None,
    before: Annotated[
        int | None,
        typer.Option(metavar="DAYS", min=0, help="Only questions older than this number of days."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    dry_run: DryRunOption = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete questions with their answers and votes permanently. Writers' texts are kept."""
    if visitor is None and person is None and before is None:
        raise AskdocsError(
            "name the questions to delete: --visitor ID, --person NAME or --before DAYS"
        )
    until = None if before is None else _days_ago(before)
    with database.opened(home_dir) as engine:
        store = Store(engine)
        count = store.forget(visitor=visitor, person=person, before=until, dry_run=True)
        if count and not (yes or dry_run):
            typer.confirm(f"Delete {count:,} questions? It cannot be undone.", abort=True, err=True)
        if not dry_run:
            count = store.forget(visitor=visitor, person=person, before=until)
            Sorter(engine).tidy()
    if as_json:
        print(json.dumps({"questions": count, "changed": not dry_run}, indent=2))
    elif dry_run:
        print(f"would delete {count:,} questions (dry run: nothing was changed)")
    else:
        print(f"deleted {count:,} questions")


def _send(week: str | None, dry_run: bool, home_dir: Path | None, as_json: bool) -> None:
    """Print a week's gaps as a message, and send it unless it was sent."""
    today = datetime.now(UTC).date()
    first: date = weeks.parse(week) if week else weeks.monday(today) - weeks.WEEK
    settings = load(WidgetSettings)
    webhook = settings.digest_webhook
    if webhook is None and not dry_run:
        raise AskdocsError(
            "--send: there is no webhook: set ASKDOCS_WIDGET_DIGEST_WEBHOOK in the environment"
        )
    with _sorted(home_dir) as (engine, wiki):
        text = digests.text_of(find(engine, first, 2, PUBLIC, wiki), settings.public_url)
        address = webhook.get_secret_value() if webhook and not dry_run else ""
        sent = bool(address) and digests.send(engine, wiki, address, first, settings.public_url)
    if as_json:
        print(json.dumps({"week": weeks.name(first), "text": text, "sent": sent}, indent=2))
        return
    print(text)
    if not dry_run:
        print("sent" if sent else f"not sent: the digest of {weeks.name(first)} was sent before")


def since_moment(since: str | None) -> datetime | None:
    """The begin of the day that `--since` means. Raises AskdocsError."""
    return weeks.begin(times.day(since)) if since else None


def refuse_existing(out: Path) -> None:
    """Raises AskdocsError: the file is there, or its folder is not."""
    if out.exists():
        raise AskdocsError(f"--out {out}: already exists: name another file, or move this one")
    if not out.absolute().parent.is_dir():
        raise AskdocsError(f"--out {out}: the folder {out.parent} does not exist: create it first")


def write_new(out: Path, text: str) -> None:
    """Write a file whole or not at all, for its owner alone. Raises AskdocsError."""
    try:
        home.write(out, text, mode=0o600)
    except OSError as error:
        raise AskdocsError(f"--out {out}: cannot be written ({error.strerror})") from None


@contextmanager
def _sorted(home_dir: Path | None) -> "Iterator[tuple[sa.Engine, ReviewIndex]]":
    """The database, with every question in its cluster, and the wiki."""
    file = index_file(home_dir)
    with database.opened(home_dir) as engine, closing(ReviewIndex(file, engine)) as wiki:
        with Bar() as bar:
            Sorter(engine).sort(lambda done, total: bar.show("clustering", done, total))
        yield engine, wiki


def _days_ago(days: int) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(days=days)
    except OverflowError:
        raise AskdocsError(f"--before {days}: is too many days: write fewer") from None


def _facts(listed: "Gaps") -> dict[str, Any]:
    names = [weeks.name(day) for day in listed.first_days]
    return {
        "weeks": names,
        "count": listed.count,
        "asked": listed.asked,
        "gaps": [
            {
                "cluster": gap.cluster,
                "question": gap.question,
                "asked": gap.asked,
                "weeks": dict(zip(names, gap.weeks, strict=True)),
                "trend": gap.trend,
                "pages": list(gap.pages),
                "state": gap.state,
            }
            for gap in listed.gaps
        ],
    }


def _show(listed: "Gaps") -> None:
    if not listed.gaps:
        print("no gaps: every question of this period was answered")
        return
    table.show(
        ["question", "closest page", "trend", "asked"],
        [
            [
                " ".join(gap.question.split())[:70],
                gap.pages[0]["title"][:40] if gap.pages else "-",
                f"{gap.trend:+,}" if gap.trend else "=",
                f"{gap.asked:,}",
            ]
            for gap in listed.gaps[:SHOWN]
        ],
        numbers=2,
    )
    if len(listed.gaps) > SHOWN:
        print(f"and {listed.count - SHOWN:,} more; --json and --out list them")
