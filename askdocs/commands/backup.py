"""`askdocs backup`: save database, index, settings and versions to one file while askdocs runs."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models.aliases import shares
from askdocs.models.registry import opened_store
from askdocs.state import home
from askdocs.state.backups import archive, making
from askdocs.state.backups.making import InstallationPaths
from askdocs.state.backups.manifest import PARTS, RESTORED
from askdocs.terminal.bar import Bar
from askdocs.terminal.stopping import stoppable
from gateway.core.errors import AskdocsError
from gateway.core.gateway_settings import GatewaySettings
from gateway.core.settings import load, settings_file
from gateway.storage.database import Unreachable

if TYPE_CHECKING:
    from askdocs.state.backups.manifest import Manifest

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
    verify: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Verify an existing backup and list its contents."),
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Save database, index, settings and versions to one file.

    askdocs may keep running. The file is verified before it gets its final name.
    """
    if verify is not None:
        with Bar() as bar:
            opened = archive.opened(verify)
            archive.verify(opened, bar.show)
        _tell(verify, opened.manifest, as_json, "is whole")
        return
    places = places_of(home_dir)
    file = Path(out)
    with archive.write_errors(file):
        is_folder = file.is_dir() or out.endswith("/")
    if is_folder:
        file /= f"askdocs-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    with stoppable(), Bar() as bar:
        manifest = making.make(places, file, weights, bar.show)
    try:
        making.record(places, file, manifest)
    except Unreachable as error:
        err.print(
            f"askdocs: the backup was made, but is not in the audit log: {error}", markup=False
        )
    _tell(file, manifest, as_json, "was made and read back")


def places_of(home_dir: Path | None) -> "InstallationPaths":
    """Where the parts of the askdocs of this home are. Raises AskdocsError."""
    place, settings = home.find(home_dir), load(GatewaySettings)
    url = settings.database_url
    return InstallationPaths(
        url=url.get_secret_value() if url else f"sqlite:///{place.database}",
        index=place.index,
        settings=settings_file(),
        store=opened_store(home_dir),
        configured=settings.aliases,
    )


def contents(manifest: "Manifest") -> Mapping[str, Any]:
    """What a backup holds, for scripts."""
    return {
        "made": manifest.made.isoformat(timespec="seconds"),
        "askdocs": manifest.askdocs,
        "schema": manifest.revision,
        "weights": manifest.weights,
        "live": manifest.live,
        "versions": manifest.versions,
        "bytes": manifest.bytes,
        "files": {path: file.model_dump() for path, file in manifest.files.items()},
    }


def described(manifest: "Manifest") -> list[str]:
    """What a backup holds, for people, a line each."""
    lines = [
        f"  made       {manifest.made:%Y-%m-%d %H:%M} UTC by askdocs {manifest.askdocs}, schema"
        f" {manifest.revision or 'none'}"
    ]
    for part in PARTS:
        if part == "versions":
            names = ", ".join(manifest.versions) or "none"
            how = "" if manifest.weights or not manifest.versions else " (without weights)"
            lines.append(f"  versions   {names}{how}")
        elif files := manifest.of(part):
            lines.append(f"  {part:9}  {sum(file.bytes for file in files.values()):,} bytes")
    lines += [f"  {alias:9}  {shares(targets)}" for alias, targets in manifest.live.items()]
    return lines


def _tell(file: Path, manifest: "Manifest", as_json: bool, what: str) -> None:
    size = sum(path.stat().st_size for path in [file] if path.is_file())
    if as_json:
        print(json.dumps({"file": str(file), "size": size, **contents(manifest)}, indent=2))
        return
    print(f"{file}: {what}{f', {size:,} bytes' if size else ''}")
    for line in described(manifest):
        print(line)


def parts_of(only: list[str] | None) -> tuple[Any, ...]:
    """The parts that `--only` names; all without it. Raises AskdocsError."""
    for name in only or ():
        if name not in RESTORED:
            raise AskdocsError(f"--only {name}: use one of {', '.join(RESTORED)}")
    return tuple(part for part in RESTORED if part in (only or RESTORED))
