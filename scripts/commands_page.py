"""Writes docs/reference/commands.md from the help of the command line and of make, and from the
tables in the code that commands print: rules for datasets, assumptions of plans.

`.venv/bin/python scripts/commands_page.py`; a test fails when the page is stale.
"""

import subprocess
from pathlib import Path
from typing import Any

import typer

from askdocs.capacity.assumptions import Assumptions
from askdocs.cli import app
from training.data.check.rules import RULES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference/commands.md"

TOP = """\
# Commands

Nearly all commands also take `--home DIR`, the state folder (default: `ASKDOCS_HOME` or
`.askdocs`), and `--json`, for scripts. This page is generated from `--help`.
"""
END = """\
## Rules of dataset check

{rules}

Near-duplicates have four fifths of all their words in common, without endings and words such as
"the". `unsupported` compares each sentence with the row's pages, by the rules of the
[check](../explanation/answers.md#the-check-of-an-answer) that marks answers in service. `personal`
ignores addresses of `example.com` and similar domains.

## Assumptions of plan

`--assume NAME=VALUE` changes an assumption, and can be repeated.

{assumptions}

## Exit codes

| code | meaning |
|---|---|
| 0 | success; also `status` when some parts are down: read its output |
| 1 | a check found something: {checks} |
| 2 | an error, with its fix in one line; also `status` when askdocs does not run |
| 3 | `status --json` when askdocs does not run; `eval gate` when it allows only a canary |
| 130 | Ctrl-C |

## Targets of make

`make` alone lists the targets:

{targets}
"""


CHECKS = (
    "`doctor`, `dataset check`, `train --dry-run`, `eval gate`,"
    " `slack --check`, and `docs sync` when a page could not be read"
)


def text() -> str:
    """The page as it should be."""
    command: Any = typer.main.get_command(app)
    parts = [TOP]
    for name, sub in command.commands.items():
        verbs = getattr(sub, "commands", {})
        if verbs and not sub.invoke_without_command:
            parts.append(f"## {name}\n\n{sub.help}\n")
        else:
            parts.append(f"## {name}\n\n{_described(name, sub)}")
        parts += [
            f"### {name} {verb}\n\n{_described(f'{name} {verb}', each)}"
            for verb, each in verbs.items()
        ]
    parts.append(
        END.format(targets=_targets(), checks=CHECKS, rules=_rules(), assumptions=_assumptions())
    )
    return "\n".join(parts)


def _rules() -> str:
    rows = ["| rule | severity | problem | fix |", "|---|---|---|---|"]
    return "\n".join(
        rows
        + [f"| `{one.name}` | {one.severity} | {one.about} | {one.fix} |" for one in RULES.values()]
    )


def _assumptions() -> str:
    rows = ["| name | default | meaning |", "|---|---|---|"]
    for name, field in Assumptions.model_fields.items():
        default = "not set" if field.default is None else f"`{field.default:g}`"
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(rows)


def _described(name: str, command: Any) -> str:
    lines = [command.help or "", ""]
    usage = [f".venv/bin/askdocs {name}"]
    options = []
    for parameter in command.params:
        text = getattr(parameter, "help", None) or ""
        if type(parameter).__name__ == "TyperArgument":
            value = parameter.metavar or parameter.name.upper()
            shown = f'"{parameter.name}"' if name == "ask" else value
            is_marked = parameter.required or value.startswith("[")
            usage.append(shown if is_marked else f"[{shown}]")
            if text:
                options.append(f"- `{value}`: {text}{_default(parameter, text)}")
        elif parameter.name != "help":
            flag = parameter.opts[0]
            if not parameter.is_flag:
                flag += f" {_value(parameter)}"
                if parameter.required:
                    usage.append(flag)
            elif parameter.secondary_opts:
                flag += f" / {parameter.secondary_opts[0]}"
            if flag not in ("--json", "--home DIR"):  # at the top of the page
                options.append(f"- `{flag}`: {text}{_default(parameter, text)}")
    usage += ["[OPTIONS]"] if any(line.startswith("- `--") for line in options) else []
    return "\n".join([*lines, "```sh", " ".join(usage), "```", "", *options]).rstrip() + "\n"


def _default(parameter: Any, text: str) -> str:
    """A parameter's default, where its help does not say it."""
    default = parameter.default
    if default is None or default is False or callable(default) or "default" in text:
        return ""
    if default is True:
        return " On by default."
    return f" Default: `{default}`." if default not in ("", (), []) else ""


def _value(option: Any) -> str:
    flag = option.opts[0]
    names = {"--home": "DIR", "--page": "URL", "--engine-url": "URL"}
    if value := option.metavar or names.get(flag):
        return str(value)
    kinds = {int: "N", float: "N", Path: "PATH"}
    return kinds.get(option.type_descriptor.annotation, flag[2:].upper().replace("-", "_"))


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
    PAGE.write_text(text(), encoding="utf-8")
