"""`askdocs keys` and `askdocs usage`: manage API keys and show their usage.

They work on the database itself, whether or not a gateway runs.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.state import home
from askdocs.state.database import opened
from askdocs.supervision import status
from askdocs.terminal import table
from askdocs.terminal.times import day, duration
from core.errors import AskdocsError
from core.settings import load
from gateway.access.keys import ALL, Keys, Limits
from gateway.routing import aliases, deployments
from gateway.settings import GatewaySettings
from gateway.telemetry.usage import GROUPS, last_used, report

if TYPE_CHECKING:
    import sqlalchemy as sa

    from gateway.access.keys import Key
    from gateway.telemetry.usage import UsageRow

app = typer.Typer(help="Manage API keys, their models and their limits.", no_args_is_help=True)
KeyArgument = Annotated[str, typer.Argument(metavar="NAME|ID", help="The key's name or id.")]

GroupsOption = Annotated[
    str | None,
    typer.Option(
        help="Groups whose pages it may read, separated by commas; * means all pages "
        "(default: none)."
    ),
]

LOCAL = ("minilm", "local")  # the gateway's own models


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The person or program that uses the key.")],
    team: Annotated[str, typer.Option(help="Team to which its usage is attributed.")] = "",
    models: Annotated[
        str | None,
        typer.Option(help="Models and aliases it may use, separated by commas (default: all)."),
    ] = None,
    rpm: Annotated[int | None, typer.Option(help="Requests per minute.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens per minute, prompt and answer.")] = None,
    max_parallel: Annotated[int | None, typer.Option(help="Concurrent requests.")] = None,
    monthly_tokens: Annotated[
        int | None, typer.Option(help="Tokens per calendar month (UTC).")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="Lifetime: 90d, 12h, 30m (default: unlimited).")
    ] = None,
    groups: GroupsOption = None,
    for_people: Annotated[
        bool,
        typer.Option(
            "--for-people", help="For widget and Slack: pass on a person's groups, within its own."
        ),
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key and show its secret once."""
    limits = Limits(rpm, tpm, max_parallel, monthly_tokens)
    until = datetime.now(UTC) + duration("--expires", expires) if expires is not None else None
    listed = [model.strip() for model in models.split(",")] if models is not None else []
    with opened(home_dir) as engine:
        key, text = Keys(engine).create(
            name, team, listed, limits, until, _split(groups) or (), for_people
        )
        for warning in _doubts(engine, key):
            typer.echo(f"warning: {warning}", err=True)
    if as_json:
        print(json.dumps({**_facts(key), "key": text}, indent=2))
        return
    _show_once(key, text, home_dir)


@app.command("groups")
def regroup(
    name_or_id: KeyArgument,
    groups: GroupsOption = None,
    for_people: Annotated[
        bool | None,
        typer.Option(
            "--for-people/--not-for-people", help="May it pass on people's groups, within its own?"
        ),
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change which pages a key may read. Running gateways follow within two seconds."""
    if groups is None and for_people is None:
        raise AskdocsError("nothing to change: add --groups, --for-people or --not-for-people")
    with opened(home_dir) as engine:
        key = Keys(engine).regroup(name_or_id, _split(groups), for_people)
    if as_json:
        print(json.dumps(_facts(key), indent=2))
        return
    print(f"{_named(key)} may read {_readable(key)}")


@app.command("list")
def show(home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """List every key with its limits, expiry, state and last use."""
    with opened(home_dir) as engine:
        keys, used = Keys(engine).list(), last_used(engine)
    if as_json:
        rows = [
            {**_facts(key), "last_used": str(used[key.id]) if key.id in used else None}
            for key in keys
        ]
        print(json.dumps(rows, indent=2))
        return
    if not keys:
        print("no keys: create one with `askdocs keys create NAME`")
        return
    table.show(
        ["name", "id", "team", "models", "reads", "limits", "expires", "state", "last used"],
        [
            [
                key.name,
                key.id,
                key.team or "-",
                ", ".join(key.models) or "all",
                _readable(key),
                _limits(key) or "none",
                f"{key.expires:%Y-%m-%d %H:%M}" if key.expires else "never",
                _state(key),
                str(used.get(key.id, "-")),
            ]
            for key in keys
        ],
    )


@app.command()
def revoke(
    name_or_id: KeyArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the key, and change nothing.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key permanently. Every running gateway refuses it within two seconds."""
    with opened(home_dir) as engine:
        store = Keys(engine)
        key = store.get(name_or_id)
        if not (yes or dry_run or key.revoked):
            typer.confirm(
                f"Revoke {_named(key)}? Its users lose access, and it cannot be undone.",
                abort=True,
                err=True,
            )
        if not dry_run:
            key = store.revoke(key.id)
    if as_json:
        print(json.dumps({**_facts(key), "changed": not dry_run}, indent=2))
    elif dry_run:
        print(f"would revoke {_named(key)}, which is {_state(key)} (dry run: nothing was changed)")
    else:
        print(f"revoked {_named(key)}")


@app.command()
def rotate(
    name_or_id: KeyArgument,
    grace: Annotated[
        str, typer.Option(help="How long the old secret remains valid: 24h, 30m, 0m.")
    ] = "24h",
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a new secret for a key, and show it once; limits, models and id are unchanged."""
    time = duration("--grace", grace)
    ends = datetime.now(UTC) + time
    with opened(home_dir) as engine:
        key, text = Keys(engine).rotate(name_or_id, time)
    if as_json:
        print(json.dumps({**_facts(key), "key": text, "old_valid_until": _iso(ends)}, indent=2))
        return
    _show_once(key, text, home_dir)
    old = f"until {ends:%Y-%m-%d %H:%M} UTC" if time else "no more"
    print(f"\nThe old secret works {old}.")


def usage(
    by: Annotated[
        str, typer.Option(help="key, team, alias, model or day; several separated by commas.")
    ] = "key",
    since: Annotated[
        str, typer.Option(metavar="DATE|AGE", help="Start: a date (2026-05-31) or an age (30d).")
    ] = "30d",
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show requests and tokens by key, team, alias, model or UTC day."""
    groups = [name.strip() for name in by.split(",")]
    for name in groups:
        if name not in GROUPS:
            raise AskdocsError(f"--by {by}: {name!r} is unknown: use {', '.join(GROUPS)}")
    first = day(since)
    with opened(home_dir) as engine:
        rows = report(engine, groups, first)
    if as_json:
        facts = {
            "since": str(first),
            "by": groups,
            "rows": [{**row.group, **_counts(row)} for row in rows],
        }
        print(json.dumps(facts, indent=2))
        return
    if not rows:
        print(f"no usage since {first}")
        return
    counts = ("requests", "prompt_tokens", "completion_tokens", "total_tokens")
    table.show(
        [*groups, *(name.replace("_", " ") for name in counts)],
        [
            [*(row.group[name] or "-" for name in groups)]
            + [f"{_counts(row)[name]:,}" for name in counts]
            for row in rows
        ],
        numbers=len(counts),
    )


def _doubts(engine: "sa.Engine", key: "Key") -> Iterator[str]:
    """What makes a new key useless, as far as one can know here: engines are not asked."""
    settings = load(GatewaySettings)
    names = {*aliases.DEFAULT, *settings.aliases, *aliases.stored(engine), aliases.BASE}
    names |= {
        *settings.models,
        *LOCAL,
        *(deployment.name for deployment in deployments.every(engine)),
    }
    for model in key.models:
        if model not in names:
            yield (
                f"no alias or model is called {model!r}, unless an engine lists it; known are "
                f"{', '.join(sorted(names))}"
            )
    for option, limit in (("tpm", key.limits.tpm), ("monthly-tokens", key.limits.monthly_tokens)):
        if limit is not None and limit <= settings.max_tokens:
            yield (
                f"--{option} {limit} is too little for one question: an answer may have"
                f" {settings.max_tokens} tokens, unless the client sets a smaller max_tokens"
            )


def _facts(key: "Key") -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "team": key.team,
        "models": list(key.models),
        "groups": list(key.groups),
        "for_people": key.for_people,
        "limits": asdict(key.limits),
        "created": _iso(key.created),
        "expires": _iso(key.expires),
        "revoked": _iso(key.revoked),
        "state": _state(key),
    }


def _counts(row: "UsageRow") -> dict[str, int]:
    return {
        "requests": row.requests,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "total_tokens": row.tokens,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _state(key: "Key") -> str:
    if key.revoked is not None:
        return "revoked"
    if key.expires is not None and key.expires <= datetime.now(UTC):
        return "expired"
    return "active"


def _limits(key: "Key") -> str:
    return ", ".join(
        f"{name} {limit:,}" for name, limit in asdict(key.limits).items() if limit is not None
    )


def _readable(key: "Key") -> str:
    pages = "all pages" if ALL in key.groups else ", ".join(["pages for everybody", *key.groups])
    return f"{pages}; for people" if key.for_people else pages


def _split(names: str | None) -> list[str] | None:
    """The parts of an option with commas; an empty one has none."""
    return (
        None if names is None else [name for part in names.split(",") if (name := part.strip(" "))]
    )


def _named(key: "Key") -> str:
    return f"{key.name} ({key.id})"


def _show_once(key: "Key", text: str, home_dir: Path | None) -> None:
    print(f"{text}\n")
    print("Keep it: it is stored as a hash only, and is not shown again.")
    print(f"It is the key {_named(key)}; try it:\n")
    print(f"curl {_address(home_dir)}/chat/completions -H 'Authorization: Bearer {text}' \\")
    print("  -H 'Content-Type: application/json' \\")
    message = [{"role": "user", "content": "How do I get started?"}]
    body = json.dumps({"model": key.models[0] if key.models else "docs", "messages": message})
    print(f"  -d '{body}'")


def _address(home_dir: Path | None) -> str:
    """Base URL of the gateway that runs here, or of the one that would."""
    try:
        return status.read(home.find(home_dir)).gateway
    except AskdocsError:
        return f"http://127.0.0.1:{load(GatewaySettings).port}/v1"
