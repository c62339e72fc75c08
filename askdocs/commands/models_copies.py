"""`askdocs models push|pull`: copy versions to and from remote storage."""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from huggingface_hub.utils.tqdm import disable_progress_bars

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models.registry import opened_store
from askdocs.state import audit, home
from askdocs.terminal.bar import Bar
from core.errors import AskdocsError
from training.versions.hub import Hub
from training.versions.open import open_store
from training.versions.store import Store
from training.versions.transfer import copy

NameArgument = Annotated[str, typer.Argument(metavar="VERSION", help="A version, such as docs@v7.")]
PlaceArgument = Annotated[
    str, typer.Argument(metavar="PLACE", help="A folder, s3://BUCKET/PREFIX or hf://ORG/NAME.")
]
ArtefactOption = Annotated[
    list[str] | None,
    typer.Option(help="Also copy this artefact, such as gguf; can be repeated."),
]


def push(
    name: NameArgument,
    place: PlaceArgument,
    artefact: ArtefactOption = None,
    public: Annotated[
        bool, typer.Option("--public", help="On the hub: make a new repository public.")
    ] = False,
    license: Annotated[
        str | None,
        typer.Option(help="On the hub: the base model's licence (default: from its model card)."),
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a version to another place, and verify every file. Existing files are skipped."""
    source = opened_store(home_dir)
    source.manifest(name)
    target = _hub(place, artefact) or _opened(place, home_dir)
    if isinstance(target, Store) and (public or license):
        raise AskdocsError(f"{place}: --public and --license apply only to the hub: omit them")
    audit.note(home_dir, "version.push", name, place=place, public=public)
    with Bar() as bar:
        if isinstance(target, Store):
            copy(name, source, target, artefact or [], bar.show)
        else:
            target.push(name, source, license, public, bar.show)
    _show(name, str(source.place), place, artefact, as_json)


def pull(
    name: NameArgument,
    place: PlaceArgument,
    artefact: ArtefactOption = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a version from another place into the store, under its own name."""
    target = opened_store(home_dir)
    source = _hub(place, artefact) or _opened(place, home_dir)
    audit.note(home_dir, "version.pull", name, place=place)
    with Bar() as bar:
        if isinstance(source, Store):
            copy(name, source, target, artefact or [], bar.show)
        else:
            with TemporaryDirectory() as work:
                source.pull(name, target, Path(work), bar.show)
    _show(name, place, str(target.place), artefact, as_json)


def _hub(place: str, artefacts: list[str] | None) -> "Hub | None":
    """The repository, if `place` is one."""
    if not place.startswith("hf://"):
        return None

    if artefacts:
        raise AskdocsError(f"{place}: only the adapter is pushed to the hub: omit --artefact")
    if not sys.stderr.isatty():
        disable_progress_bars()
    return Hub(place, os.environ.get("HF_TOKEN") or None)


def _opened(place: str, home_dir: Path | None) -> "Store":
    return open_store(place, home.find(home_dir).root)


def _show(name: str, source: str, target: str, artefacts: list[str] | None, as_json: bool) -> None:
    if as_json:
        facts = {"name": name, "from": source, "to": target, "artefacts": artefacts or []}
        print(json.dumps(facts, indent=2))
    else:
        also = f" with {', '.join(artefacts)}" if artefacts else ""
        print(f"{name}{also}: from {source} to {target}")
