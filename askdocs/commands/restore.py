"""`askdocs restore`: restore a backup and keep the previous state."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askdocs.commands.backup import described, parts_of, places_of
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.state import home
from askdocs.state.backups import archive, moves, restoring
from askdocs.state.backups.restoring import ABSENT
from askdocs.terminal.bar import Bar
from askdocs.terminal.stopping import stoppable
from gateway.core.errors import AskdocsError

if TYPE_CHECKING:
    from askdocs.state.backups.making import InstallationPaths
    from askdocs.state.backups.restoring import RestorePlan
    from askdocs.state.home import Home


def restore(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="A backup, or the folder in which a restore kept the previous state.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="database, index or versions; can be repeated."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only finish an interrupted restore.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Verify the backup, show the changes, and change nothing."),
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup, while askdocs is stopped.

    The backup is verified first. The previous state is kept, so that you can undo the restore.
    """
    if (file is None) is not resume:
        raise AskdocsError(
            "name the backup to restore, or use --resume to finish an interrupted restore"
        )
    place, places = home.find(home_dir), places_of(home_dir)
    if file is None:
        _resume(place, places, as_json)
        return
    with Bar() as bar:
        planned = restoring.plan(places, archive.opened(file), parts_of(only), bar.show)
    if not as_json:
        print(f"{file}: is complete")
        for line in [*described(planned.backup.manifest), "", *_would(planned)]:
            print(line)
    if dry_run:
        if as_json:
            print(json.dumps({**restoring.facts(planned), "changed": False}, indent=2))
        else:
            print("dry run: nothing was changed")
        return
    if not yes:
        question = f"Restore {', '.join(planned.parts)} in {place.root}? The current state is kept."
        typer.confirm(question, abort=True, err=True)
    try:
        with stoppable(), Bar() as bar:
            previous = restoring.restore(place, places, planned, bar.show)
    except KeyboardInterrupt:
        typer.echo("askdocs: stopped: nothing was changed", err=True)
        raise
    if as_json:
        facts = {
            "changed": True,
            "keys_that_may_be_open_again": planned.unchecked,
            "kept": str(previous) if previous else None,
            "questions_that_come_back": planned.comes_back,
        }
        print(json.dumps({**restoring.facts(planned), **facts}, indent=2))
        return
    print("restored")
    if planned.unchecked:
        print(
            "revocations since the backup could not be read: if one of these keys was revoked or "
            "rotated since then, repeat that before the gateway starts, with `askdocs"
            f" keys revoke NAME` or `keys rotate NAME`: {', '.join(planned.unchecked)}"
        )
    if planned.comes_back:
        print(
            f"{planned.comes_back:,} questions deleted since then are back: delete them again "
            "with `askdocs feedback forget`"
        )
    if previous:
        print(f"the previous state is in {previous}; undo with: askdocs restore {previous}")


def _resume(place: "Home", places: "InstallationPaths", as_json: bool) -> None:
    journal = moves.journal_of(places.database or place.database)
    was = journal.exists()
    with restoring.exclusive(place, places):
        pass
    if as_json:
        print(json.dumps({"changed": was}))
    else:
        print("the restore is finished" if was else "no interrupted restore: nothing was changed")


def _would(planned: "RestorePlan") -> list[str]:
    """What a restore changes, a line each."""
    replaced = [part for part in planned.parts if part != "versions"]
    lines = [f"  {part} replaces the current one" for part in replaced]
    lines += [f"  {name} {what}" for name, what in planned.versions.items()]
    if ABSENT in planned.versions.values():
        lines.append("  fetch the version with `askdocs models pull`, or promote another one")
    if planned.settings_differ:
        lines.append(
            "  the settings differ from the backup's, and are not replaced: compare them with"
            f" `tar xzOf {planned.backup.place} settings/askdocs.toml`"
        )
    return lines
