"""`askdocs backup`: save database, index, settings and versions to one file while askdocs runs."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models.registry import opened_store
from askdocs.state import backups, home
from askdocs.state.backups import Backup, InstallationPaths
from askdocs.terminal.bar import Bar
from askdocs.terminal.stopping import stoppable
from core.database import Unreachable
from core.settings import load, settings_file
from gateway.settings import GatewaySettings

err = Console(stderr=True, highlight=False, soft_wrap=True)


def backup(
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE|DIR", help="New file, or a folder for one (default: this folder)."
        ),
    ] = "",
    weights: Annotated[
        bool, typer.Option("--weights", help="Include the files of model versions.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Save database, index, settings and versions to one file.

    askdocs may keep running. The file is read back before it gets its final name.
    """
    places = places_of(home_dir)
    file = Path(out)
    with backups.write_errors(file):
        is_folder = file.is_dir() or out.endswith("/")
    if is_folder:
        file /= f"askdocs-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    with stoppable(), Bar() as bar:
        made = backups.make(places, file, weights, bar.show)
    try:
        backups.record(places, file, made)
    except Unreachable as error:
        err.print(
            f"askdocs: the backup was made, but is not in the audit log: {error}", markup=False
        )
    size = file.stat().st_size
    if as_json:
        print(json.dumps({"file": str(file), "size": size, **contents(made)}, indent=2))
        return
    print(f"{file}: was made and read back, {size:,} bytes")
    for line in described(made):
        print(line)


def places_of(home_dir: Path | None) -> InstallationPaths:
    """Where the parts of the askdocs of this home are. Raises AskdocsError."""
    place, url = home.find(home_dir), load(GatewaySettings).database_url
    return InstallationPaths(
        url=url.get_secret_value() if url else f"sqlite:///{place.database}",
        index=place.index,
        settings=settings_file(),
        store=opened_store(home_dir),
    )


def contents(backup: Backup) -> dict[str, Any]:
    """What a backup holds, for scripts."""
    return {**backup.manifest.model_dump(mode="json"), "files": backup.files}


def described(backup: Backup) -> list[str]:
    """What a backup holds, for people, a line each."""
    manifest = backup.manifest
    sizes = {name: f"{size:,} bytes" for name, size in backup.files.items()}
    names = ", ".join(manifest.versions) or "none"
    how = "" if manifest.weights or not manifest.versions else " (without weights)"
    return [
        f"  made       {manifest.made:%Y-%m-%d %H:%M} UTC by askdocs {manifest.askdocs}, schema"
        f" {manifest.revision or 'none'}",
        *(
            f"  {name.partition('/')[0]:9}  {size}"
            for name, size in sizes.items()
            if not name.startswith("versions/")
        ),
        f"  versions   {names}{how}",
    ]
