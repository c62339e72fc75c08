"""`askdocs status`: show the running parts and their health."""

import json
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.markup import escape

from askdocs.commands.options import HomeOption, JsonOption, program
from askdocs.state import home
from askdocs.supervision import prefix_cache, status
from askdocs.terminal.consoles import out
from askdocs.wikis import index
from core.errors import AskdocsError
from core.settings import load
from widget.review import access
from widget.settings import WidgetSettings


def show_status(
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Show the key and the sign-in link of the review.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show addresses, process ids and health of the running askdocs."""
    place = home.find(home_dir)
    try:
        state = status.health(place)
    except AskdocsError as error:
        if as_json:
            print(json.dumps({"running": False, "home": str(place.root), "why": str(error)}))
            raise typer.Exit(3) from None
        raise
    running, key = status.read(place), place.key()
    if secrets:
        state |= {"key": key, "review": _review(running, key)}
    if as_json:
        print(json.dumps(state, indent=2))
        return
    out.print(f"askdocs (process {state['pid']}) since {state['started']}, {state['home']}")
    for name, part in state["parts"].items():
        mark = "[green]ok[/green]  " if part["healthy"] else "[red]down[/red]"
        pid = f"  process {part['pid']}" if part["pid"] else ""
        out.print(f"  {mark}  {name:8} {escape(part['url'])}{pid}")
    if state["missing"] == "database":
        out.print(f"  [red]down[/red]  database  see {escape(state['home'])}/logs/gateway.log")
    if state["degraded"]:
        out.print(f"  [red]failing[/red] {', '.join(state['degraded'])}: restarts by itself")
    for name, version in state["versions"].items():
        pid = f"  process {version['pid']}" if version["pid"] else ""
        what = version["message"] or version["url"] or ""
        out.print(f"  {version['state']:8}  {escape(name)}  {escape(what)}{pid}")
    out.print(f"  model     {escape(state['model'])} ({state['engine']})")
    out.print(f"  wiki      {escape(state['docs'])}")
    if state["index"]:
        out.print(f"  index     {escape(index.summary(state['index']))}")
    if state["prefix_cache"]:
        out.print(f"  cached    {escape(prefix_cache.summary(state['prefix_cache']))}")
    if secrets:
        out.print(f"  key       {state['key']}")
        out.print(f"  review    {state['review']}")
    else:
        out.print(f"  key       {program()} status --secrets")


def _review(state: status.Running, key: str) -> str:
    return access.link(load(WidgetSettings, gateway_key=SecretStr(key)), state.widget)
