"""`askdocs models verify|retire|gc`: verify stored versions and remove old ones."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models.registry import opened_store, served, targeted
from askdocs.state import audit, home
from askdocs.terminal.bar import Bar
from gateway.core.errors import AskdocsError
from training.versions import garbage
from training.versions.open import cache

NameArgument = Annotated[str, typer.Argument(metavar="VERSION", help="A version, such as docs@v7.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")]


def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="A version (default: all).")
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every file of versions and artefacts, and report differences from the manifest.

    Exit code 1 if there are any. Retired versions are skipped.
    """
    store = opened_store(home_dir)
    names = [name] if name else [version for version in store.names() if not store.retired(version)]
    problems: dict[str, list[str]] = {}
    with Bar() as bar:
        for version in names:
            for artefact in (None, *store.artefacts(version)):
                try:
                    store.fetch(version, artefact, bar.show)
                except AskdocsError as error:
                    problems.setdefault(version, []).extend(str(error).splitlines())
    if as_json:
        print(json.dumps({version: problems.get(version, []) for version in names}, indent=2))
    else:
        for version in names:
            print(f"{version}: {'broken' if version in problems else 'ok'}")
            for line in problems.get(version, ()):
                print(f"  {line}")
    if problems:
        raise typer.Exit(1)


def retire(
    name: NameArgument,
    yes: YesOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check that it can be retired, and change nothing.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Retire a version: it can no longer be promoted, and `gc` may remove its files."""
    store = opened_store(home_dir)
    store.manifest(name)
    if aliases := targeted(home_dir).get(name):
        raise AskdocsError(
            f"{name}: the alias {', '.join(aliases)} points to it: promote another version first"
        )
    if name in served(home_dir):
        raise AskdocsError(f"{name}: is served: promote another version first")
    done = False
    if not dry_run:
        if not (yes or store.retired(name)):
            typer.confirm(f"Retire {name}? It cannot be undone.", abort=True, err=True)
        audit.note(home_dir, "version.retire", name)
        done = store.retire(name)
    if as_json:
        print(json.dumps({"name": name, "changed": done}))
    elif dry_run:
        print(f"would retire {name} (dry run: nothing was changed)")
    else:
        print(f"retired {name}" if done else f"{name} is already retired")


def gc(
    days: Annotated[
        int, typer.Option(min=0, help="Days after retirement before files are removed.")
    ] = 30,
    yes: YesOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files, and remove nothing.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the files of retired versions and of interrupted writes.

    Their copies on this machine are removed, too. Versions that are served or that an alias points
    to are kept, and so are all manifests, verdicts and thresholds.
    """
    store, copies = opened_store(home_dir), cache(home.find(home_dir).root)
    used = {*targeted(home_dir), *served(home_dir)}
    leftovers = list(garbage.find(store, copies, used, datetime.now(UTC), days))
    size = sum(leftover.bytes for leftover in leftovers)
    if not as_json:
        for leftover in leftovers:
            print(f"{leftover.what}: {leftover.bytes:,} bytes ({leftover.why})")
        if not leftovers:
            print("nothing to remove")
    if leftovers and not dry_run:
        if not yes:
            places = " and ".join(dict.fromkeys(str(leftover.place) for leftover in leftovers))
            typer.confirm(f"Remove {size:,} bytes from {places}?", abort=True, err=True)
        names = [leftover.what for leftover in leftovers]
        audit.note(home_dir, "version.clean", str(store.place), bytes=size, removed=names)
        paths = [(leftover.place, path) for leftover in leftovers for path in leftover.paths]
        with Bar() as bar:
            for number, (place, path) in enumerate(paths, 1):
                place.remove(path)
                bar.show("removing files", number, len(paths))
    if as_json:
        rows = [
            {"what": leftover.what, "why": leftover.why, "bytes": leftover.bytes}
            for leftover in leftovers
        ]
        print(json.dumps({"removed": not dry_run, "bytes": size, "garbage": rows}, indent=2))
    elif leftovers:
        then = "would remove" if dry_run else "removed"
        print(f"{then} {size:,} bytes{' (dry run: nothing was changed)' if dry_run else ''}")
