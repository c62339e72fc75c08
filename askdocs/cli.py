"""The command `askdocs`."""

import asyncio
import json
import os
import sys
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape

from askdocs import (
    aliases,
    audit,
    backup,
    bench,
    client,
    dataset,
    docs,
    evaluate,
    feedback,
    home,
    keys,
    mcp,
    models,
    plan,
    restore,
    slack,
    status,
    train,
)
from askdocs.options import HomeOption, JsonOption
from askdocs.settings import UpSettings
from gateway.controls import without
from gateway.errors import AskdocsError
from gateway.settings import load

app = typer.Typer(
    help="A model of your own that answers questions about your wiki, with sources.",
    no_args_is_help=True,
    add_completion=False,
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
app.add_typer(evaluate.app, name="eval")
app.add_typer(slack.app, name="slack")
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


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
            help="GGUF file, model folder or hub id; with --engine-url the model's name there."
        ),
    ] = None,
) -> None:
    """Start engine, gateway, widget and the wiki's site on this machine, until Ctrl-C."""
    from askdocs.up import Up

    settings = load(
        UpSettings,
        docs=docs,
        gateway_port=gateway_port,
        widget_port=widget_port,
        site_port=site_port,
        engine=engine,
        engine_url=engine_url,
        model=model,
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
    """Ask the running askdocs; the answer streams to the terminal, with its sources."""
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
def show_status(home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """Addresses, process ids, health and the demo key of the running askdocs."""
    place = home.find(home_dir)
    try:
        found = status.health(place)
    except AskdocsError as error:
        if as_json:
            print(json.dumps({"running": False, "home": str(place.root), "why": str(error)}))
            raise typer.Exit(3) from None
        raise
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
        from askdocs import prefix_cache

        out.print(f"  cached    {escape(prefix_cache.summary(found['prefix_cache']))}")
    out.print(f"  key       {found['key']}")
    running = status.read(place)
    out.print(f"  review    {_review(running, found['key'])}")


@app.command()
def doctor(home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check machine, ports, disk and engine, and say what to do."""
    from askdocs.doctor import examine

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


def _reading(facts: dict[str, object]) -> str:
    parts = [f"{p['title']} ({p['tokens']:,} tokens)" for p in facts["reading"]]  # type: ignore[attr-defined]
    seconds = facts.get("seconds")
    about = f", at most {seconds:.0f} s" if isinstance(seconds, float) and seconds >= 1 else ""
    return f"reading {', '.join(parts)}{about} ..."


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
    key = place.key()
    small = settings.model is None and settings.engine_url is None
    larger = (
        "\n[bold]A larger model[/bold] writes better answers than this one of 135M parameters:\n"
        "  make run ARGS='--model FILE.gguf'   or a hub id: bartowski/Llama-3.2-3B-Instruct-GGUF\n"
        "  make run ARGS='--engine-url http://127.0.0.1:11434/v1 --model NAME'   (Ollama)\n"
        if small
        else ""
    )
    out.print(
        f"\n[bold green]ready[/bold green] after {seconds:.0f} s;"
        f" the first answer took {answered.seconds:.1f} s\n"
        f"\n  Your wiki, with the box   [bold]{state.site}[/bold]"
        f"\n  The box alone             {state.widget}"
        f"\n  Review, for writers       {_review(state, key)}"
        f"\n  OpenAI API (base_url)     {state.gateway}"
        f"\n  Agents (MCP)              {state.gateway.removesuffix('/v1')}/mcp"
        f"\n  Key                       {key}"
        f"\n  Model                     docs  ({escape(state.model)} on {state.engine};"
        f" reads at most {state.page_budget:,} tokens of a page)\n"
        f'\n  .venv/bin/askdocs ask "How do I get started?"\n'
        f"\n  curl {state.gateway}/chat/completions -H 'Authorization: Bearer {key}' \\"
        f"\n    -H 'Content-Type: application/json' \\"
        f'\n    -d \'{{"model": "docs", "messages": [{{"role": "user",'
        f' "content": "How do I get started?"}}]}}\'\n'
        f"{larger}\nLogs are in {place.logs}. Ctrl-C stops everything.\n"
    )


def _review(state: status.Running, key: str) -> str:
    from widget.review import access
    from widget.settings import WidgetSettings

    return access.link(load(WidgetSettings, gateway_key=SecretStr(key)), state.widget)


app.command()(keys.usage)
app.command()(audit.audit)
app.command()(backup.backup)
app.command()(restore.restore)
app.command()(train.train)
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
