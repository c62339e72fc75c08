"""`askdocs models push|pull`: copies of versions elsewhere."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askdocs.options import HomeOption, JsonOption

if TYPE_CHECKING:
    from training.versions.store import Store

NameArgument = Annotated[str, typer.Argument(metavar="VERSION", help="A version, as docs@v7.")]
ArtefactOption = Annotated[
    list[str] | None,
    typer.Option(help="Copy this artefact, too, as gguf; may be given several times."),
]


def push(
    name: NameArgument,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="A folder or s3://BUCKET/PREFIX.")],
    artefact: ArtefactOption = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a version to another place; every file is verified. What is there is not copied."""
    from askdocs.models import opened_store

    source, target = opened_store(home_dir), _opened(place, home_dir)
    _copy(name, source, target, artefact, as_json)


def pull(
    name: NameArgument,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="A folder or s3://BUCKET/PREFIX.")],
    artefact: ArtefactOption = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a version from another place into the store, under its own name."""
    from askdocs.models import opened_store

    source, target = _opened(place, home_dir), opened_store(home_dir)
    _copy(name, source, target, artefact, as_json)


def _opened(place: str, home_dir: Path | None) -> "Store":
    from askdocs import home
    from training.versions.open import open_store

    return open_store(place, home.find(home_dir).root)


def _copy(
    name: str, source: "Store", target: "Store", artefacts: list[str] | None, as_json: bool
) -> None:
    from askdocs.syncing import Bar
    from training.versions.transfer import copy

    with Bar() as bar:
        copy(name, source, target, artefacts or [], bar.show)
    if as_json:
        facts = {"name": name, "from": str(source.place), "to": str(target.place)}
        print(json.dumps({**facts, "artefacts": artefacts or []}, indent=2))
    else:
        also = f" with {', '.join(artefacts)}" if artefacts else ""
        print(f"{name}{also}: from {source.place} to {target.place}")
