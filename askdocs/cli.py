"""The command `askdocs`."""

import asyncio
import importlib.metadata
import json
import os
import sys
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from askdocs.clients import question as client
from askdocs.commands import (
    aliases,
    audit,
    backup,
    bench,
    connect,
    dataset,
    docs,
    evaluate,
    feedback,
    gpu,
    keys,
    mcp,
    models,
    plan,
    restore,
    slack,
    train,
)
from askdocs.commands.options import HomeOption, JsonOption, program
from askdocs.models import curated
from askdocs.state import home
from askdocs.supervision import status
from askdocs.supervision.settings import UpSettings
from gateway.core.control_characters import without
from gateway.core.errors import AskdocsError
from gateway.core.settings import load
from gateway.knowledge.sources.spec import is_address

# The commands of `askdocs --help`, in the order in which people need them.
GROUPS = {
    "Start and ask": ("up", "ask", "status", "doctor"),
    "Your wiki": ("docs", "feedback"),
    "For a team": ("keys", "connect", "aliases", "usage", "slack", "mcp", "bench", "plan"),
    "A model of your own": ("dataset", "train", "models", "eval", "gpu"),
    "Care": ("backup", "restore", "audit"),
}


class Grouped(TyperGroup):
    """Lists its commands in groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for group, names in GROUPS.items():
            commands = [(name, self.commands[name]) for name in names]
            width = formatter.width - 6 - max(map(len, names))
            with formatter.section(group):
                formatter.write_dl(
                    [(name, command.get_short_help_str(width)) for name, command in commands]
                )


app = typer.Typer(
    cls=Grouped,
    help="A model of your own that answers questions about your wiki, with sources.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(keys.app, name="keys")
app.add_typer(aliases.app, name="aliases")
app.add_typer(docs.app, name="docs")
app.add_typer(bench.app, name="bench")
app.add_typer(dataset.app, name="dataset")
app.add_typer(feedback.app, name="feedback")
app.add_typer(models.app, name="models")
app.add_typer(gpu.app, name="gpu")
app.add_typer(evaluate.app, name="eval")
app.add_typer(slack.app, name="slack")
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def _version(asked: bool) -> None:
    if asked:
        print(f"askdocs {importlib.metadata.version('askdocs')}")
        raise typer.Exit


@app.callback()
def top(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """A model of your own that answers questions about your wiki, with sources."""


COLOURS = {"engine": "magenta", "gateway": "blue", "widget": "green", "site": "yellow"}


@app.command()
def up(
    docs: Annotated[
        str | None,
        typer.Option(
            help="Your wiki: folder of Markdown or HTML pages, or address of a site"
            " (default: docs)."
        ),
    ] = None,
    home_dir: HomeOption = None,
    gateway_port: Annotated[
        int | None, typer.Option(help="Port of the OpenAI API (default: 4000).")
    ] = None,
    widget_port: Annotated[
        int | None, typer.Option(help="Port of the box (default: 8080).")
    ] = None,
    site_port: Annotated[
        int | None, typer.Option(help="Port of the wiki as a site (default: 8000).")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Engine to start, llama.cpp or vllm (default: llama.cpp)."),
    ] = None,
    engine_url: Annotated[
        str | None,
        typer.Option(help="OpenAI-compatible server that runs already (Ollama, vLLM, ...)."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A name (llama-3.2-3b, qwen2.5-7b, ...), a GGUF file, model folder or hub id; with"
            " --engine-url the model's name there."
        ),
    ] = None,
    autocomplete: Annotated[
        str | None,
        typer.Option(
            help="Code model for autocomplete in editors: a GGUF file, a hub id, or the address of"
            " a server that runs, with /v1."
        ),
    ] = None,
) -> None:
    """Start engine, API, box and site on this machine, until Ctrl-C."""
    from askdocs.supervision.up import Up

    settings = load(
        UpSettings,
        docs=docs,
        gateway_port=gateway_port,
        widget_port=widget_port,
        site_port=site_port,
        engine=engine,
        engine_url=engine_url,
        model=model,
        autocomplete=autocomplete,
    )
    place = home.find(home_dir)

    def ready(state: status.Running, answered: client.Answered, seconds: float) -> None:
        _banner(settings, place, state, answered, seconds)

    asyncio.run(Up(settings, place, _say).run(ready))


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    page: Annotated[
        str | None, typer.Option("--page", help="Address of the wiki page that you are on.")
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask in the terminal; the answer has its sources."""
    place = home.find(home_dir)
    running = status.read(place)
    for kind, value in client.ask(running.gateway, place.key(), question, page):
        if kind == "done":
            _show(value, as_json)
        elif not as_json and kind == "reading":
            err.print(f"[dim]{escape(_reading(value))}[/dim]")
        elif not as_json:
            sys.stdout.write(without(value))
            sys.stdout.flush()


@app.command("status")
def show_status(
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Show the key and the sign-in link of the review.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Addresses, process ids and health of the running askdocs."""
    place = home.find(home_dir)
    try:
        found = status.health(place)
    except AskdocsError as error:
        if as_json:
            print(json.dumps({"running": False, "home": str(place.root), "why": str(error)}))
            raise typer.Exit(3) from None
        raise
    running, key = status.read(place), place.key()
    if secrets:
        found |= {"key": key, "review": _review(running, key)}
    if as_json:
        print(json.dumps(found, indent=2))
        return
    out.print(f"askdocs (process {found['pid']}) since {found['started']}, {found['home']}")
    for name, part in found["parts"].items():
        mark = "[green]ok[/green]  " if part["healthy"] else "[red]down[/red]"
        pid = f"  process {part['pid']}" if part["pid"] else ""
        out.print(f"  {mark}  {name:8} {escape(part['url'])}{pid}")
    if found["missing"] == "database":
        out.print(f"  [red]down[/red]  database  see {escape(found['home'])}/logs/gateway.log")
    for name, version in found["versions"].items():
        pid = f"  process {version['pid']}" if version["pid"] else ""
        what = version["message"] or version["url"] or ""
        out.print(f"  {version['state']:8}  {escape(name)}  {escape(what)}{pid}")
    out.print(f"  model     {escape(found['model'])} ({found['engine']})")
    out.print(f"  wiki      {escape(found['docs'])}")
    if found["index"]:
        out.print(f"  index     {escape(docs.summary(found['index']))}")
    if found["prefix_cache"]:
        from askdocs.supervision import prefix_cache

        out.print(f"  cached    {escape(prefix_cache.summary(found['prefix_cache']))}")
    if secrets:
        out.print(f"  key       {found['key']}")
        out.print(f"  review    {found['review']}")
    else:
        out.print(f"  key       {program()} status --secrets")


@app.command()
def doctor(home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check machine, ports, disk and engine, and say what to do."""
    from askdocs.commands.doctor import examine

    found = examine(load(UpSettings), home.find(home_dir))
    if as_json:
        print(json.dumps([check.__dict__ for check in found], indent=2))
    else:
        for check in found:
            mark = "[green]ok  [/green]" if check.ok else "[red]FIX [/red]"
            out.print(f"{mark} {escape(check.line())}")
    if not all(check.ok for check in found):
        raise typer.Exit(1)


def _say(name: str, text: str) -> None:
    colour = COLOURS.get(name, "cyan")
    out.print(f"[{colour}]{name:8}[/{colour}] {escape(text)}")


def _reading(facts: dict[str, Any]) -> str:
    return f"reading {', '.join(page['title'] for page in facts['reading'])} ..."


def _show(answered: client.Answered, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answered.__dict__, indent=2, ensure_ascii=False))
        return
    sys.stdout.write("\n")
    if answered.refused:
        if answered.pages:
            out.print("\nThe best pages:")
        for page in answered.pages:
            out.print(f"  {escape(page['title'])}\n    {escape(page['url'])}")
    for source in answered.sources:
        section = f" › {source['section']}" if source["section"] else ""
        out.print(f"\n[bold]{escape(source['title'] + section)}[/bold]\n{escape(source['url'])}")
        for line in source["quote"].splitlines():
            out.print(f"  [dim]│ {escape(line)}[/dim]")
    first = f", first words after {answered.first_token:.1f} s" if answered.first_token else ""
    how = " in the page's own words" if answered.quoting and not answered.refused else ""
    err.print(f"[dim]{escape(answered.model)}{how}, {answered.seconds:.1f} s{first}[/dim]")


def _banner(
    settings: UpSettings,
    place: home.Home,
    state: status.Running,
    answered: client.Answered,
    seconds: float,
) -> None:
    folder = not is_address(settings.docs)
    box, ask = state.widget, program()
    # The commands find an askdocs that runs in another folder by its name.
    at = "" if place.root == home.find(None).root else f" --home {place.root}"
    out.print(f"\n[bold green]ready[/bold green] after {seconds:.0f} s;{_first(answered)}\n")
    rows = {
        "Wiki, with the box" if folder else "Wiki": state.site,
        "The box alone": box,
        "Review, for writers": f"{box}/review",
        "OpenAI API": f"{state.gateway}  (model docs, key in {place.root}/key)",
        "Agents (MCP)": f"{state.gateway.removesuffix('/v1')}/mcp",
        "Model": f"{state.model} on {state.engine}",
    }
    for name, value in rows.items():
        out.print(f"  {name:20} {escape(value)}")
    question = escape(answered.question or "How do I get started?")
    out.print(f'\n  {ask} ask "{question}"{at}')
    out.print(f"  {ask} status --secrets{at}   the key, and the link that signs in to the review")
    if settings.model is None and settings.engine_url is None:
        better = curated.best(curated.free_memory(), curated.free_disk())
        name = better.name if better else "FILE.gguf"
        size = f", {better.gigabytes:.1f} GB to download" if better else ""
        out.print(f"  {ask} up --model {name}   a model that writes its answers{size}")
    out.print(f"\nLogs are in {place.logs}. Ctrl-C stops everything.")
    if folder:
        out.print(f"[bold]Open {state.site} and press Ctrl+K.[/bold]\n")
        return
    from askdocs.wikis.site import tag

    out.print(f"The box is not on {state.site} yet. Paste before </body>: {escape(tag(box))}")
    out.print(f"[bold]Open {box} and ask.[/bold]\n")


def _first(answered: client.Answered) -> str:
    if answered.refused or not answered.question:
        return " the model answers, and none of the wiki's headings asks for what it says"
    return f" “{escape(answered.question)}” was answered in {answered.seconds:.1f} s"


def _review(state: status.Running, key: str) -> str:
    from widget.review import access
    from widget.settings import WidgetSettings

    return access.link(load(WidgetSettings, gateway_key=SecretStr(key)), state.widget)


app.command()(keys.usage)
app.command()(audit.audit)
app.command()(backup.backup)
app.command()(restore.restore)
app.command()(train.train)
app.command()(connect.connect)
app.command()(mcp.mcp)
app.command()(plan.plan)


def _leave_proxies_out() -> None:
    """A proxy from the environment would be asked for 127.0.0.1, where it finds itself."""
    names = ("no_proxy", "NO_PROXY")
    # Most programs read the first that is set, and not both.
    listed = [host.strip() for name in names for host in os.environ.get(name, "").split(",")]
    hosts = dict.fromkeys(filter(None, [*listed, "127.0.0.1", "localhost", "::1"]))
    for name in names:
        os.environ[name] = ",".join(hosts)


def main() -> None:
    """Entry point: errors that a person can act on are one line, and exit code 2."""
    _leave_proxies_out()
    try:
        app()
    except AskdocsError as error:
        for line in str(error).splitlines():
            err.print(f"[red]askdocs:[/red] {escape(line)}")
        sys.exit(2)
