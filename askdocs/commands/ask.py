"""`askdocs ask`: ask a question in the terminal."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape

from askdocs.clients import question as client
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.state import home
from askdocs.supervision import status
from askdocs.terminal.consoles import err, out
from core.control_characters import without


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    page: Annotated[
        str | None,
        typer.Option("--page", help="Address of the wiki page that the question is about."),
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a question in the terminal and get an answer with sources."""
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


def _reading(facts: dict[str, Any]) -> str:
    titles = dict.fromkeys(page["title"] for page in facts["reading"])
    return f"Reading {', '.join(titles)} ..."


def _show(answered: client.Answered, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answered.__dict__, indent=2, ensure_ascii=False))
        return
    sys.stdout.write("\n")
    sys.stdout.flush()  # before what follows on the other stream
    if answered.refused:
        if answered.pages:
            out.print("\nThe best pages:")
        for page in answered.pages:
            out.print(f"  {escape(page['title'])}\n    {escape(page['url'])}")
    # A quotation names its sources itself.
    for source in () if answered.quoting else answered.sources:
        section = f" › {source['section']}" if source["section"] else ""
        out.print(f"\n[bold]{escape(source['title'] + section)}[/bold]\n{escape(source['url'])}")
        for line in source["quote"].splitlines():
            out.print(f"  [dim]│ {escape(line)}[/dim]")
    first = f", first token after {answered.first_token:.1f} s" if answered.first_token else ""
    made = "Quoted from the wiki" if answered.quoting else escape(answered.model)
    by = "Not in the wiki" if answered.refused else made
    err.print(f"[dim]{by}, {answered.seconds:.1f} s{first}[/dim]")
