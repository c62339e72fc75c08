"""`askdocs doctor`: find problems with this machine or installation, and suggest fixes."""

import json

import typer
from rich.markup import escape

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.state import home
from askdocs.supervision.doctor import examine
from askdocs.supervision.settings import UpSettings
from askdocs.terminal.consoles import out
from core.settings import load


def doctor(home_dir: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check machine, ports, disk and engine, and suggest fixes."""
    checks = examine(load(UpSettings), home.find(home_dir))
    if as_json:
        print(json.dumps([check.__dict__ for check in checks], indent=2))
    else:
        for check in checks:
            mark = "[green]ok  [/green]" if check.ok else "[red]FIX [/red]"
            out.print(f"{mark} {escape(check.line())}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
