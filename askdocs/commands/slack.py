"""`askdocs slack`: answer in Slack, check the connection, and print the app manifest."""

import asyncio
import json
import logging
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
import yaml

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.commands.slack_check import examine
from askdocs.state import home
from askdocs.state.claim import claimed
from askdocs.state.database import opened
from core.errors import AskdocsError
from core.settings import load
from core.tasks import Failures, Tasks
from widget.access.origins import web_address
from widget.service.store import Store
from widget.settings import WidgetSettings
from widget.slack import manifest as app_manifest
from widget.slack.running import by_http, by_socket, parts
from widget.slack.settings import SlackSettings

app = typer.Typer(help="Answer in Slack: mentions, direct messages and /ask.")


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    http: Annotated[
        bool,
        typer.Option("--http", help="Receive events over HTTP instead of Socket Mode."),
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="Port that --http listens on (default: 3000).")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Check tokens, scopes and gateway, and exit."),
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer in Slack until Ctrl-C: mentions, direct messages and /ask."""
    if context.invoked_subcommand:
        return
    if check:
        _check(http, home_dir, as_json)
        return
    asyncio.run(_serve(http, port, home_dir))


@app.command()
def manifest(
    url: Annotated[
        str | None,
        typer.Option(help="Public address for --http (default: Socket Mode)."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the app and its bot.")] = "askdocs",
    as_json: JsonOption = False,
) -> None:
    """Print the app manifest; paste it at https://api.slack.com/apps: New App."""
    if url is not None and not (web_address(url) and url.startswith("https://")):
        raise AskdocsError(f"--url {url}: Slack takes https only: write https://HOST")
    if not 1 <= len(name) <= 35:
        raise AskdocsError(f"--name {name}: has {len(name)} characters: Slack takes 1 to 35")
    made = app_manifest.manifest(name, url)
    if as_json:
        print(json.dumps(made, indent=2))
    else:
        print(yaml.safe_dump(made, sort_keys=False), end="")


async def _serve(http: bool, port: int | None, home_dir: Path | None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(name)s: %(message)s")
    settings, widget, place = load(SlackSettings, port=port), _widget(home_dir), home.find(home_dir)
    taken = "another `askdocs slack` uses this state folder: stop it, or name another --home DIR"
    with (
        claimed(place.root / "slack", taken),
        opened(home_dir) if widget.store else nullcontext() as engine,
    ):
        store = Store(engine) if engine else None
        failures = Failures(place.root, "slack")
        tasks = Tasks(failures.failed, failures.started)
        async with parts(settings, widget, store, place.root / "slack", _say, tasks) as bolt:
            await (by_http if http else by_socket)(bolt, settings, _say, tasks)


def _check(http: bool, home_dir: Path | None, as_json: bool) -> None:
    checks = asyncio.run(examine(load(SlackSettings), _widget(home_dir), http))
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FIX '} {check.line()}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _widget(home_dir: Path | None) -> "WidgetSettings":
    """Where answers come from; beside an `askdocs up` its key serves us, too."""
    settings = load(WidgetSettings)
    if settings.gateway_key is None:
        settings = load(WidgetSettings, gateway_key=home.find(home_dir).existing_key())
    return settings


def _say(line: str) -> None:
    print(line, flush=True)
