"""Writes docs/reference/commands*.md from the help of the command line and of make.

`.venv/bin/python scripts/commands_page.py`; a test fails when the page is stale.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import typer

from askdocs.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference/commands.md"
TEAM = ROOT / "docs" / "reference/commands-team.md"
WIKI = ROOT / "docs" / "reference/commands-docs.md"
MODELS = ROOT / "docs" / "reference/commands-models.md"
DATA = ROOT / "docs" / "reference/commands-data.md"
EVAL = ROOT / "docs" / "reference/commands-eval.md"
CARE = ROOT / "docs" / "reference/commands-care.md"

TOP = """\
# Commands

The command is `.venv/bin/askdocs`. `make setup` installs it. It has the commands {names}.
This page is generated from `--help`.
"""
TEAM_TOP = """\
# Commands for a team

`.venv/bin/askdocs plan` plans GPUs; `keys`, `aliases` and `bench` have verbs of their own. Each
takes `--json`, for scripts, and nearly all `--home DIR`, the state folder. This page is generated
from `--help`.
"""
WIKI_TOP = """\
# Commands for wikis

`.venv/bin/askdocs docs` has verbs for the wikis in the index: see [Sync](../how-to/sync.md). Each
takes `--json`, for scripts, and `--home DIR`, the state folder. This page is generated from
`--help`.
"""
MODELS_TOP = """\
# Commands for versions of models

`.venv/bin/askdocs models` has verbs for trained versions: see [Versions](versions.md). Each takes
`--json`, for scripts, and `--home DIR`, the state folder. This page is generated from `--help`.
"""
DATA_TOP = """\
# Commands for feedback and datasets

`.venv/bin/askdocs feedback` has verbs for readers' questions and votes, see
[Review](../tutorials/review.md), and `dataset` for training data, see
[Datasets](../how-to/dataset.md). Each takes `--json`, for scripts, and nearly all `--home DIR`, the
state folder. This page is generated from `--help`.
"""
CARE_TOP = """\
# Commands for backups and records

These commands back an installation up, see [Backups](../how-to/backup.md#backups), and show its
[audit log](../how-to/audit.md) and [usage](../how-to/keys.md#usage). Each takes `--json`, for
scripts. This page is generated from `--help`.
"""
EVAL_TOP = """\
# Commands for evaluation

`.venv/bin/askdocs eval` has verbs for evaluations: see [Evaluation](../how-to/evaluation.md).
Nearly all take `--json`, for scripts, and `--home DIR`, the state folder. This page is generated
from `--help`.
"""
# What the help says in a word or two less than a reader of a wiki needs.
HEADINGS = {
    "up": "up: start everything",
    "ask": "ask: a question in the terminal",
    "status": "status: what runs, and the key",
    "doctor": "doctor: find problems",
    "backup": "backup: everything in one file",
    "restore": "restore: restore a backup",
    "audit": "audit: who did what",
    "usage": "usage: requests and tokens",
    "plan": "plan: GPUs for a model and a team",
    "mcp": "mcp: the wiki as tools for an agent",
    "slack": "slack: answers in Slack",
    "train": "train: train a version on a dataset",
}
END = """\
## Exit codes

| code | meaning |
|---|---|
| 0 | success; `status` also where some parts are down: read its output |
| 1 | a check found something: {checks} |
| 2 | an error, with one line that says what to do; also `status` where askdocs does not run |
| 3 | `status --json` where askdocs does not run |
| 130 | Ctrl-C |

## Targets of make

`make` alone lists the targets:

{targets}
"""


CHECKS = (
    "`doctor`, `dataset check`, `train --dry-run`, `eval gate`, `models verify`, `models probe`,"
    " `slack --check`, and `docs sync` where a page or a wiki could not be read"
)


def pages() -> dict[Path, str]:
    """The pages as they should be: the commands, and those that have verbs of their own."""
    command = typer.main.get_command(app)
    commands: dict[str, Any] = command.commands  # type: ignore[attr-defined]
    names = ", ".join(f"`{name}`" for name in commands)
    parts = [TOP.format(names=re.sub(", (?=[^,]*$)", " and ", names))]
    team = [TEAM_TOP]
    data = [DATA_TOP]
    others = {"docs": [WIKI_TOP], "models": [MODELS_TOP], "eval": [EVAL_TOP]}
    others |= {"dataset": data, "feedback": data}
    care = [CARE_TOP]
    alone = {"plan": team} | dict.fromkeys(["backup", "restore", "audit", "usage"], care)
    for name, sub in commands.items():
        if hasattr(sub, "commands"):
            page = others.get(name, team)
            if sub.invoke_without_command:  # it is a command itself, too
                page = parts
                page.append(_described(name, sub))
            page += [_described(f"{name} {verb}", each) for verb, each in sub.commands.items()]
        else:
            page = alone.get(name, parts)
            page.append(_described(name, sub))
    parts.append(END.format(targets=_targets(), checks=CHECKS))
    made = {PAGE: parts, TEAM: team, DATA: data, CARE: care}
    made |= {WIKI: others["docs"], MODELS: others["models"], EVAL: others["eval"]}
    return {path: "\n".join(sections) for path, sections in made.items()}


def _described(name: str, command: Any) -> str:
    lines = [f"## {HEADINGS.get(name, name)}", "", command.help or "", ""]
    usage = [f".venv/bin/askdocs {name}"]
    options = []
    for parameter in command.params:
        text = getattr(parameter, "help", None) or ""
        if type(parameter).__name__ == "TyperArgument":
            shown = f'"{parameter.name}"' if name == "ask" else parameter.name.upper()
            shown += "..." if parameter.nargs == -1 else ""
            usage.append(shown if parameter.required else f"[{shown}]")
            if text:
                options.append(f"- `{parameter.name.upper()}`: {text}{_default(parameter, text)}")
        elif parameter.name != "help":
            flag = parameter.opts[0]
            if not parameter.is_flag:
                flag += f" {_value(flag)}"
            elif parameter.secondary_opts:
                flag += f" / {parameter.secondary_opts[0]}"
            # What every one of them has is said once, at the top of the page.
            if " " not in name or flag not in ("--json", "--home DIR"):
                options.append(f"- `{flag}`: {text}{_default(parameter, text)}")
    usage += ["[OPTIONS]"] if any(line.startswith("- `--") for line in options) else []
    return "\n".join([*lines, "```sh", " ".join(usage), "```", "", *options]) + "\n"


def _default(parameter: Any, text: str) -> str:
    """A parameter's default, where its help does not say it."""
    default = parameter.default
    if default is None or default is False or callable(default) or "default" in text:
        return ""
    if default is True:
        return " On by default."
    return f" Default: `{default}`." if default not in ("", (), []) else ""


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
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
