"""`askdocs aliases`: map the names that clients use to models."""

import asyncio
import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from askdocs.commands.docs import names_of
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models.aliases import effective, problems_of, shares
from askdocs.state import instructions as telling
from askdocs.state.database import opened
from core import audit
from core.errors import AskdocsError
from core.settings import load
from gateway.routing import aliases
from gateway.settings import NAME, Alias, GatewaySettings

app = typer.Typer(
    help="Manage aliases: the names that clients use, and their models.",
    no_args_is_help=True,
)
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check and report, and change nothing.")
]


@app.command("list")
def show(home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """List every alias with its targets, fallback and grounding, and where it is defined."""
    configured = load(GatewaySettings).aliases
    with opened(home_dir) as database:
        stored = aliases.stored(database)
    table = {**aliases.DEFAULT, **configured, **stored}
    rows = [
        {
            "name": name,
            **alias.model_dump(mode="json"),
            "from": "database" if name in stored else "file" if name in configured else "default",
        }
        for name, alias in table.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['name']}  ({row['from']})")
        print(f"  targets    {shares(row['targets'])}")
        if row["fallback"]:
            print(f"  fallback   {' -> '.join(row['fallback'])}, after {row['first_byte']:g} s")
        print(f"  grounding  {'on' if row['grounding'] else 'off'}")
        if row["grounding"]:
            print(f"  check      {row['check']}")
            for model, scores in row["thresholds"].items():
                scores_text = ", ".join(f"{checker} {score:g}" for checker, score in scores.items())
                print(f"  threshold  {model}: {scores_text}")
        if row["sources"]:
            print(f"  sources    {', '.join(row['sources'])}")
        if row["instructions"]:
            print(f"  instructions  {shortened(row['instructions'])}")


@app.command("set")
def put(
    name: Annotated[str, typer.Argument(help="The name that clients use.")],
    target: Annotated[
        list[str] | None,
        typer.Option(help="MODEL or MODEL=WEIGHT; several share the requests (a canary)."),
    ] = None,
    fallback: Annotated[
        list[str] | None,
        typer.Option(help="Model or alias to try next; can be repeated, in order."),
    ] = None,
    no_fallback: Annotated[
        bool, typer.Option("--no-fallback", help="Remove the fallback.")
    ] = False,
    grounding: Annotated[
        bool | None, typer.Option(help="Base answers on pages of the wiki?")
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            help="Unsupported sentences: mark, hold (withhold them), or off.", metavar="MODE"
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="Wiki to answer from, by name; can be repeated."),
    ] = None,
    all_sources: Annotated[
        bool, typer.Option("--all-sources", help="Answer from all wikis again.")
    ] = False,
    instructions: Annotated[
        Path | None,
        typer.Option(help="File of instructions, sent to models before every question."),
    ] = None,
    no_instructions: Annotated[
        bool, typer.Option("--no-instructions", help="Remove the instructions.")
    ] = False,
    first_byte: Annotated[
        float | None,
        typer.Option(help="Seconds to wait for the first byte before trying the fallback."),
    ] = None,
    dry_run: DryRunOption = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change or create an alias. Every running gateway follows within two seconds.

    Options that you do not give are unchanged.
    """
    settings = effective(home_dir)
    system_prompt = telling.read(instructions) if instructions else None
    sources = names_of(source, home_dir) if source else ()
    with opened(home_dir) as database:
        stored = aliases.stored(database)
        table = {**aliases.DEFAULT, **settings.aliases, **stored}
        before = table.get(name)
        fields: dict[str, Any] = before.model_dump() if before else {}
        if target:
            fields["targets"] = dict(_weighted(text) for text in target)
        if fallback or no_fallback:
            fields["fallback"] = tuple(fallback or ())
        if grounding is not None:
            fields["grounding"] = grounding
        if check is not None:
            fields["check"] = check
        if sources or all_sources:
            fields["sources"] = sources
        if system_prompt or no_instructions:
            fields["instructions"] = system_prompt
        if first_byte is not None:
            fields["first_byte"] = first_byte
        alias = _checked(name, fields)
        new = aliases.Table({**table, name: alias})
        if problems := asyncio.run(problems_of(settings, database, new)):
            raise AskdocsError("\n".join(f"alias {p.alias}: {p.message}" for p in problems))
        if not dry_run:
            aliases.save(database, name, alias, audit.user(), seen=stored.get(name))
    if as_json:
        print(json.dumps({"name": name, **alias.model_dump(mode="json"), "changed": not dry_run}))
        return
    was = f"was {shares(before.targets)}, " if before else "new, "
    then = " (dry run: nothing was changed)" if dry_run else ""
    print(f"{name}: {was}is {shares(alias.targets)}{then}")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The name that clients use.")],
    dry_run: DryRunOption = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo `set`: the alias of the settings file applies again, if there is one."""
    settings = effective(home_dir)
    with opened(home_dir) as database:
        stored = aliases.stored(database)
        if name not in stored:
            raise AskdocsError(
                f"{name!r} is not in the database: `askdocs aliases list` says where it is"
            )
        seen = stored.pop(name)
        table = {**aliases.DEFAULT, **settings.aliases, **stored}
        if problems := asyncio.run(problems_of(settings, database, aliases.Table(table))):
            raise AskdocsError("\n".join(f"alias {p.alias}: {p.message}" for p in problems))
        if not dry_run:
            aliases.remove(database, name, seen=seen)
    left = table.get(name)
    if as_json:
        print(json.dumps({"name": name, "removed": not dry_run, "remains": left is not None}))
        return
    then = " (dry run: nothing was changed)" if dry_run else ""
    print(f"{name}: {f'is {shares(left.targets)} again' if left else 'is gone'}{then}")


def _checked(name: str, fields: dict[str, Any]) -> "Alias":
    if not re.match(NAME, name):
        raise AskdocsError(f"{name!r} is not a valid name: use letters, digits and . _ @ : -")
    if "targets" not in fields:
        raise AskdocsError(f"{name!r} is a new alias: name its model with --target MODEL")
    try:
        return Alias(**fields)
    except ValidationError as error:
        texts = [p["msg"].removeprefix("Value error, ") for p in error.errors()]
        raise AskdocsError("\n".join(f"alias {name}: {text}" for text in texts)) from None


def shortened(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _weighted(text: str) -> tuple[str, float]:
    name, equals, weight = text.partition("=")
    try:
        return name, float(weight) if equals else 1.0
    except ValueError:
        raise AskdocsError(f"--target {text}: {weight!r} is not a weight; write MODEL=90") from None
