"""`askdocs models`: list, show, export and retire versions of trained models."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.commands import models_compare, models_copies, models_serve
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models import artefacts
from askdocs.models.artefacts import Export
from askdocs.models.registry import opened_store, served, targeted
from askdocs.state import audit, home
from askdocs.terminal import table
from askdocs.terminal.bar import Bar
from core.errors import AskdocsError
from training.versions import garbage
from training.versions.open import cache

if TYPE_CHECKING:
    from training.versions.store import Store

app = typer.Typer(
    help="Manage versions of trained models, and choose the one in use.",
    no_args_is_help=True,
)
app.command()(models_copies.push)
app.command()(models_copies.pull)
app.command()(models_serve.promote)
app.command()(models_serve.rollback)
app.command()(models_compare.compare)
NameArgument = Annotated[str, typer.Argument(metavar="VERSION", help="A version, such as docs@v7.")]


@app.command("list")
def show_all(
    name: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="All that is known of one version.")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Only the versions of this alias.")] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every version: base model, training examples, validation loss, and its users."""
    if name:
        _show(name, home_dir, as_json)
        return
    store, used = opened_store(home_dir), targeted(home_dir)
    with Bar() as bar:
        names = [each for each in store.names() if alias in (None, each.partition("@")[0])]
        rows = []
        for number, each in enumerate(names, 1):
            rows.append(_facts(store, each, used))
            bar.show("reading versions", number, len(names))
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print("no versions: create one with `askdocs train`")
        return
    table.show(
        ["name", "created", "base", "examples", "eval loss", "gate", "artefacts", "used by"],
        [
            [
                row["name"] + (" (retired)" if row["retired"] else ""),
                row["created"][:16].replace("T", " "),
                row["base_model"],
                f"{row['dataset']['examples'].get('train', 0):,}",
                f"{row['metrics']['eval_loss']:.4f}" if "eval_loss" in row["metrics"] else "-",
                row["verdict"]["decision"] if row["verdict"] else "-",
                ", ".join(row["artefacts"]) or "-",
                ", ".join(row["aliases"]) or "-",
            ]
            for row in rows
        ],
    )


def _show(name: str, home_dir: Path | None, as_json: bool) -> None:
    """Recipe, data, metrics, checks, verdicts, thresholds, artefacts and files of a version."""
    store = opened_store(home_dir)
    facts = _facts(store, name, targeted(home_dir))
    facts["verdicts"] = [verdict.model_dump(mode="json") for verdict in store.verdicts(name)]
    facts["thresholds"] = [
        threshold.model_dump(mode="json") for threshold in store.thresholds(name)
    ]
    facts["artefacts"] = {
        kind: store.artefact(name, kind).model_dump(mode="json") for kind in facts["artefacts"]
    }
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    del facts["verdict"]
    files = facts.pop("files")
    for key, value in flat(facts).items():
        print(f"{key}: {value}")
    for path, file in files.items():
        print(f"{path}: {file['bytes']:,} bytes, {file['sha256']}")


@app.command()
def export(
    name: NameArgument,
    kind: Annotated[
        Export,
        typer.Option("--type", help="Weights of a GGUF file (q4_1 is the smallest), or merged."),
    ] = Export.Q8_0,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version as a GGUF file or merged weights, and probe it in a real engine.

    `models promote` does it by itself. What fails its probes is not kept.
    """
    with artefacts.work(name, home_dir) as work:
        facts = work.derived(kind)
    if as_json:
        print(json.dumps({"version": name, **facts}, indent=2))
        return
    how = "made" if facts["made"] else "is there already"
    print(f"{name} {facts['kind']} {how}; its probes: {_probe_summary(facts['probes'])}")


def _probe_summary(probes: dict[str, Any]) -> str:
    return (
        f"log-probabilities off by {probes['mean']:.3f} on average and {probes['furthest']:.2f} at"
        f" most, {probes['agreed']} of {probes['clear']} clear tokens the same,"
        f" {probes['share']:.0%} of the adapter's effect preserved"
    )


@app.command()
def retire(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be removed, and change nothing.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Retire a version: it can no longer be promoted, and its files are removed.

    Its manifest, verdicts and thresholds stay. Files of interrupted writes are also removed.
    """
    store, copies = opened_store(home_dir), cache(home.find(home_dir).root)
    store.manifest(name)
    if aliases := targeted(home_dir).get(name):
        raise AskdocsError(
            f"{name}: the alias {', '.join(aliases)} points to it: promote another version first"
        )
    if name in served(home_dir):
        raise AskdocsError(f"{name}: is served: promote another version first")
    leftovers = list(garbage.find(store, copies, name, datetime.now(UTC)))
    size = sum(leftover.bytes for leftover in leftovers)
    done = False
    if not dry_run:
        if not yes:
            question = f"Retire {name}, and remove {size:,} bytes? It cannot be undone."
            typer.confirm(question, abort=True, err=True)
        removed = [leftover.what for leftover in leftovers]
        audit.note(home_dir, "version.retire", name, bytes=size, removed=removed)
        done = store.retire(name)
        paths = [(leftover.place, path) for leftover in leftovers for path in leftover.paths]
        with Bar() as bar:
            for number, (place, path) in enumerate(paths, 1):
                place.remove(path)
                bar.show("removing files", number, len(paths))
    if as_json:
        rows = [{"what": leftover.what, "bytes": leftover.bytes} for leftover in leftovers]
        print(json.dumps({"name": name, "changed": done, "bytes": size, "removed": rows}, indent=2))
        return
    for leftover in leftovers:
        print(f"{leftover.what}: {leftover.bytes:,} bytes")
    if dry_run:
        print(f"would retire {name} (dry run: nothing was changed)")
    else:
        print(f"retired {name}" if done else f"{name} is already retired")


def flat(facts: dict[str, Any], above: str = "") -> dict[str, str]:
    """Every value under the path of its keys, as recipe.lora.rank; empty ones are left out."""
    values: dict[str, str] = {}
    for key, value in facts.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(number): item for number, item in enumerate(value, 1)}
        if isinstance(value, dict):
            values |= flat(value, f"{above}{key}.")
        elif isinstance(value, list):
            values |= {f"{above}{key}": ", ".join(map(str, value))} if value else {}
        elif value is not None:
            values[f"{above}{key}"] = str(value)
    return values


def _facts(store: "Store", name: str, used: dict[str, list[str]]) -> dict[str, Any]:
    retired, verdicts = store.retired(name), store.verdicts(name)
    return {
        **store.manifest(name).model_dump(mode="json"),
        "aliases": used.get(name, []),
        "artefacts": store.artefacts(name),
        "verdict": verdicts[-1].model_dump(mode="json") if verdicts else None,
        "retired": retired.isoformat() if retired else None,
    }
