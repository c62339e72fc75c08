"""`askdocs up`: start engine, gateway, widget and site, and print their addresses."""

import asyncio
import shlex
from contextlib import closing
from typing import Annotated

import typer
from rich.markup import escape

from askdocs.clients import question as client
from askdocs.commands.options import HomeOption, program
from askdocs.models import curated
from askdocs.state import home
from askdocs.supervision import status
from askdocs.supervision.settings import UpSettings
from askdocs.supervision.up import Up
from askdocs.terminal.consoles import out
from askdocs.wikis.site import tag
from core.errors import AskdocsError
from core.settings import load
from wiki.sources.spec import is_address

COLOURS = {"engine": "magenta", "gateway": "blue", "widget": "green", "site": "yellow"}


def up(
    docs: Annotated[
        str | None,
        typer.Option(
            help="Your wiki: a folder of pages or documents, or the address of a wiki"
            " (default: docs)."
        ),
    ] = None,
    home_dir: HomeOption = None,
    gateway_port: Annotated[
        int | None, typer.Option(help="Port of the OpenAI API (default: 4000).")
    ] = None,
    widget_port: Annotated[
        int | None, typer.Option(help="Port of the widget (default: 8080).")
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
        typer.Option(help="Address of a running OpenAI-compatible server (Ollama, vLLM, ...)."),
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
            help="Code model for autocomplete in editors: a GGUF file, a hub id, or the "
            "address of a running server, with /v1."
        ),
    ] = None,
) -> None:
    """Start engine, API, widget and site on this machine, until Ctrl-C."""
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


def _say(name: str, text: str) -> None:
    colour = COLOURS.get(name, "cyan")
    out.print(f"[{colour}]{name:8}[/{colour}] {escape(text)}")


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
        "Wiki with widget" if folder else "Wiki": state.site,
        "Widget alone": box,
        "Review, for writers": f"{box}/review",
        "OpenAI API": f"{state.gateway}  (model docs, key in {place.root}/key)",
        "Agents (MCP)": f"{state.gateway.removesuffix('/v1')}/mcp",
        "Model": f"{state.model} on {state.engine}",
    }
    for name, value in rows.items():
        out.print(f"  {name:20} {escape(value)}")
    if embedded := _embedded(place):
        out.print(f"\nIndexing meaning: {embedded}. Until then search uses words only.")
    question = escape(answered.question or "How do I get started?")
    out.print(f'\n  {ask} ask "{question}"{at}')
    out.print(f"  {ask} status --secrets{at}   the key, and the link that signs in to the review")
    if settings.model is None and settings.engine_url is None:
        better = curated.best(curated.free_memory(), curated.free_disk())
        name = better.name if better else "FILE.gguf"
        size = f", {better.gigabytes:.1f} GB to download" if better else ""
        default = UpSettings.model_fields["docs"].default
        docs = "" if settings.docs == default else f" --docs {shlex.quote(settings.docs)}"
        ports = (
            f" --{port.replace('_', '-')} {value}"
            for port in ("gateway_port", "widget_port", "site_port")
            if (value := getattr(settings, port)) != UpSettings.model_fields[port].default
        )
        again = escape(f"{ask} up{docs}{''.join(ports)}{at} --model {name}")
        out.print(f"  {again}   a model that writes its answers{size}")
    out.print(f"\nLogs are in {place.logs}. Ctrl-C stops everything.")
    if folder:
        out.print(f"[bold]Open {state.site} and press Ctrl+K.[/bold]\n")
        return
    out.print(f"The widget is not on {state.site} yet. Paste before </body>: {escape(tag(box))}")
    out.print(f"[bold]Open {box} and ask.[/bold]\n")


def _embedded(place: home.Home) -> str:
    """The number of pages that are found by meaning; empty if all are."""
    # Importing numpy is slow.
    from wiki.index.index import Index  # noqa: PLC0415

    try:
        with closing(Index(place.index)) as index, index.snapshot():
            pages, embedded = index.size, index.embedded()[1]
    except AskdocsError:  # the status names it
        return ""
    return f"{embedded:,} of {pages:,} pages" if embedded < pages else ""


def _first(answered: client.Answered) -> str:
    if answered.refused or not answered.question:
        return " the model answers; no heading of the wiki served as a test question"
    return f" “{escape(answered.question)}” was answered in {answered.seconds:.1f} s"
