"""`askdocs models`: list trained model versions and show which one serves each alias."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.commands import (
    models_artefacts,
    models_compare,
    models_copies,
    models_keep,
    models_serve,
)
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models.registry import opened_store, targeted
from askdocs.terminal import table
from askdocs.terminal.bar import Bar

if TYPE_CHECKING:
    from training.versions.store import Store

app = typer.Typer(
    help="Manage versions of trained models, and choose the one in use.",
    no_args_is_help=True,
)
app.command()(models_artefacts.merge)
app.command()(models_artefacts.export)
app.command()(models_artefacts.quantise)
app.command()(models_artefacts.probe)
app.command()(models_copies.push)
app.command()(models_copies.pull)
app.command()(models_keep.verify)
app.command()(models_keep.retire)
app.command()(models_keep.gc)
app.command()(models_serve.promote)
app.command()(models_serve.canary)
app.command()(models_serve.rollback)
app.command()(models_compare.compare)
NameArgument = Annotated[str, typer.Argument(metavar="VERSION", help="A version, such as docs@v7.")]
# What makes one version different from another.
COMPARED = ["base_model", "dataset", "recipe", "prompt_fingerprint", "commit", "metrics", "checks"]


@app.command("list")
def show_all(
    alias: Annotated[str | None, typer.Option(help="Only the versions of this alias.")] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every version: base model, training examples, validation loss, and its users."""
    store, used = opened_store(home_dir), targeted(home_dir)
    with Bar() as bar:
        names = [name for name in store.names() if alias in (None, name.partition("@")[0])]
        rows = []
        for number, name in enumerate(names, 1):
            rows.append(_facts(store, name, used))
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


@app.command()
def show(name: NameArgument, home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show a version: recipe, data, metrics, checks, verdicts, thresholds, artefacts, files."""
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
def diff(
    name: NameArgument,
    other: Annotated[
        str, typer.Argument(metavar="VERSION", help="The version to compare it with.")
    ],
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions: base model, dataset, recipe, metrics, checks."""
    store = opened_store(home_dir)
    sides = [
        flat(store.manifest(version).model_dump(mode="json", include=set(COMPARED)))
        for version in (name, other)
    ]
    keys = dict.fromkeys(key for side in sides for key in side)
    rows = {key: [side.get(key) for side in sides] for key in keys}
    differences = {key: values for key, values in rows.items() if values[0] != values[1]}
    if as_json:
        print(json.dumps({"versions": [name, other], "differences": differences}, indent=2))
    elif not differences:
        print(f"{name} and {other} do not differ in {', '.join(COMPARED)}")
    else:
        cells = [
            [key, *("-" if v is None else v for v in values)] for key, values in differences.items()
        ]
        table.show(["", name, other], cells)


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
