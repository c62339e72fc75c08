"""`askdocs restore`: restore a backup and keep the previous state."""

import json
from pathlib import Path
from typing import Annotated

import typer

from askdocs.commands.backup import contents, described, places_of
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.state import home, restoring
from askdocs.state.backups import PARTS, SETTINGS
from askdocs.state.restoring import ABSENT, RestorePlan
from askdocs.terminal.bar import Bar
from askdocs.terminal.stopping import stoppable
from core.errors import AskdocsError


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="database, index or versions; can be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Verify the backup, show the changes, and change nothing."),
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup, while askdocs is stopped.

    The whole backup is read first. The replaced files are kept.
    """
    for name in only or ():
        if name not in PARTS:
            raise AskdocsError(f"--only {name}: use one of {', '.join(PARTS)}")
    parts = tuple(part for part in PARTS if part in (only or PARTS))
    place, places = home.find(home_dir), places_of(home_dir)
    with Bar() as bar:
        planned = restoring.plan(places, file, parts, bar.show)
    facts = {"backup": str(file), **contents(planned.backup)}
    facts |= {"parts": list(planned.parts), "versions": planned.versions}
    if not as_json:
        print(f"{file}: is complete")
        for line in [*described(planned.backup), "", *_would(planned)]:
            print(line)
    if dry_run:
        print(
            json.dumps({**facts, "changed": False}, indent=2)
            if as_json
            else "dry run: nothing was changed"
        )
        return
    if not yes:
        what = ", ".join(planned.parts) or "nothing"
        question = f"Restore {what} in {place.root}? The replaced files are kept."
        typer.confirm(question, abort=True, err=True)
    try:
        with stoppable(), Bar() as bar:
            kept = restoring.restore(place, places, planned, bar.show)
    except KeyboardInterrupt:
        typer.echo("askdocs: stopped: nothing was changed", err=True)
        raise
    if as_json:
        facts |= {
            "changed": True,
            "keys_that_may_be_open_again": planned.unchecked,
            "kept": str(kept) if kept else None,
            "questions_that_come_back": planned.comes_back,
        }
        print(json.dumps(facts, indent=2))
        return
    print("restored")
    if planned.unchecked:
        print(
            "the replaced database could not be read: if one of these keys was revoked or rotated"
            " since the backup, check it before the gateway starts, with `askdocs keys list`:"
            f" {', '.join(planned.unchecked)}"
        )
    if planned.comes_back:
        print(
            f"{planned.comes_back:,} questions deleted since then are back: delete them again "
            "with `askdocs feedback forget`"
        )
    if kept:
        print(f"the replaced files are in {kept}; move them back to undo the restore")


def _would(planned: RestorePlan) -> list[str]:
    """What a restore changes, a line each."""
    lines = [f"  {part} replaces the current one" for part in planned.parts if part != "versions"]
    lines += [f"  {name} {what}" for name, what in planned.versions.items()]
    if ABSENT in planned.versions.values():
        lines.append("  fetch the version with `askdocs models pull`, or promote another one")
    if SETTINGS in planned.backup.files:
        lines.append(
            f"  settings are only for reading: `tar xzOf {planned.backup.place} {SETTINGS}`"
        )
    return lines
