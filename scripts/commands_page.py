"""Writes docs/commands.md from the help of the command line and of make.

`.venv/bin/python scripts/commands_page.py`; a test fails when the page is stale.
"""

import re
import subprocess
from pathlib import Path

import typer

from askdocs.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "commands.md"

TOP = """\
# Commands

The command is `.venv/bin/askdocs`. `make setup` installs it. It has the commands {names}.
This page is made from `--help`.
"""
# What the help says in a word or two less than a reader of a wiki needs.
HEADINGS = {
    "up": "up: start everything",
    "ask": "ask: a question in the terminal",
    "status": "status: what runs, and the key",
    "doctor": "doctor: find out what is wrong",
}
END = """\
## Which exit codes do the commands have?

0 is success. 1: `doctor` found something to fix. 2: an error, with one line that says what to do.
3: `status --json` found no running askdocs.

## make: which targets are there?

`make` alone lists the targets:

{targets}
"""


def page() -> str:
    """The page as it should be."""
    command = typer.main.get_command(app)
    subcommands: dict[str, typer.core.TyperCommand] = command.commands  # type: ignore[attr-defined]
    names = ", ".join(f"`{name}`" for name in subcommands)
    parts = [TOP.format(names=re.sub(", (?=[^,]*$)", " and ", names))]
    for name, sub in subcommands.items():
        lines = [f"## {HEADINGS.get(name, name)}", "", sub.help or "", ""]
        usage = [f".venv/bin/askdocs {name}"]
        options = []
        for parameter in sub.params:
            text = getattr(parameter, "help", None) or ""
            # Nine times "default" would make this the page for questions about the default model.
            text = re.sub(r"\(default: ([^)]*)\)", r"(\1 when not given)", text)
            if type(parameter).__name__ == "TyperArgument":
                usage.append(f'"{parameter.name}"')
            elif parameter.name != "help":
                flag = parameter.opts[0]
                if not parameter.is_flag:
                    flag += f" {_value(flag)}"
                options.append(f"- `{flag}`: {text}")
        usage += ["[OPTIONS]"] if options else []
        lines += ["```sh", " ".join(usage), "```", "", *options]
        parts.append("\n".join(lines) + "\n")
    parts.append(END.format(targets=_targets()))
    return "\n".join(parts)


def _value(flag: str) -> str:
    names = {"--docs": "DIR", "--home": "DIR", "--page": "URL", "--engine-url": "URL"}
    return "N" if flag.endswith("-port") else names.get(flag, flag[2:].upper())


def _targets() -> str:
    help_text = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = [line.split(maxsplit=1) for line in help_text.splitlines()]
    return "\n".join(f"- `make {name}`: {text}" for name, text in rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
