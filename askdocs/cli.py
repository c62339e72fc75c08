"""The `askdocs` command line: imports only the module of the command that runs."""

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import click
import typer
from rich.markup import escape
from typer.core import TyperGroup

from askdocs.terminal.consoles import err
from core.errors import AskdocsError

# Groups of `askdocs --help`, in the order of use: a command's name, its module in askdocs/commands,
# its name in that module, and the first sentence of its help.
COMMANDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Start and ask": {
        "up": ("up", "up", "Start engine, API, widget and site on this machine, until Ctrl-C."),
        "ask": ("ask", "ask", "Ask a question in the terminal and get an answer with sources."),
        "status": (
            "status",
            "show_status",
            "Show addresses, process ids and health of the running askdocs.",
        ),
        "doctor": (
            "doctor",
            "doctor",
            "Check machine, ports, disk and engine, and suggest fixes.",
        ),
    },
    "Your wiki": {
        "docs": ("docs", "app", "Manage the wikis that answers are based on, and their pages."),
        "feedback": (
            "feedback",
            "app",
            "Export or delete readers' questions, and list gaps in the wiki.",
        ),
    },
    "For a team": {
        "keys": ("keys", "app", "Manage API keys, their models and their limits."),
        "connect": (
            "connect",
            "connect",
            "Connect an editor or agent: its settings, a key and a test.",
        ),
        "aliases": (
            "aliases",
            "app",
            "Manage aliases: the names that clients use, and their models.",
        ),
        "usage": (
            "keys",
            "usage",
            "Show requests and tokens by key, team, alias, model or UTC day.",
        ),
        "slack": ("slack", "app", "Answer in Slack: mentions, direct messages and /ask."),
        "mcp": ("mcp", "mcp", "Serve the wiki to an agent: an MCP server over stdio."),
        "plan": ("plan", "plan", "Plan GPUs: type and number, speed, cost."),
    },
    "A model of your own": {
        "dataset": ("dataset", "app", "Check questions and answers, and build training data."),
        "train": ("train", "train", "Train a model on a dataset, and store it as a new version."),
        "models": (
            "models",
            "app",
            "Manage versions of trained models, and choose the one in use.",
        ),
        "eval": ("evaluate", "app", "Evaluate models and RAG on the same questions."),
        "gpu": ("gpu", "app", "Check a GPU machine before using it."),
    },
    "Care": {
        "backup": (
            "backup",
            "backup",
            "Save database, index, settings and versions to one file.",
        ),
        "restore": ("restore", "restore", "Restore a backup, while askdocs is stopped."),
        "audit": (
            "audit",
            "audit",
            "Show who changed keys, aliases, wikis, versions, answers and backups.",
        ),
    },
}


class Commands(Mapping[str, click.Command]):
    """Every command by its name."""

    def __init__(self) -> None:
        self._places = {name: row for group in COMMANDS.values() for name, row in group.items()}
        self._imported: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._imported:
            module, attribute, _ = self._places[name]
            command = getattr(importlib.import_module(f"askdocs.commands.{module}"), attribute)
            self._imported[name] = _built(name, command)
        return self._imported[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _built(name: str, imported: Any) -> click.Command:
    """The command object of a command group or function."""
    parent = typer.Typer(add_completion=False, rich_markup_mode=None)
    if isinstance(imported, typer.Typer):
        parent.add_typer(imported, name=name)
    else:
        parent.command(name)(imported)
        parent.callback()(lambda: None)
    built: Any = typer.main.get_group(parent)
    command: click.Command = built.commands[name]
    return command


class Grouped(TyperGroup):
    """Lists the commands in groups."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()  # type: ignore[assignment]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for group, commands in COMMANDS.items():
            with formatter.section(group):
                formatter.write_dl([(name, text) for name, (_, _, text) in commands.items()])


app = typer.Typer(
    cls=Grouped,
    help="A model of your own that answers questions about your wiki, with sources.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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


def _leave_proxies_out() -> None:
    """A proxy from the environment would be asked for 127.0.0.1 and reach itself."""
    names = ("no_proxy", "NO_PROXY")
    # Most programs read only the first variable that is set.
    listed = [host.strip() for name in names for host in os.environ.get(name, "").split(",")]
    hosts = dict.fromkeys(filter(None, [*listed, "127.0.0.1", "localhost", "::1"]))
    for name in names:
        os.environ[name] = ",".join(hosts)


def main() -> None:
    """Entry point: errors that the user can fix are one line, with exit code 2."""
    _leave_proxies_out()
    try:
        app()
    except AskdocsError as error:
        for line in str(error).splitlines():
            err.print(f"[red]askdocs:[/red] {escape(line)}")
        sys.exit(2)
