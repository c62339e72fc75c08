"""Options that several commands share."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="State folder (default: ASKDOCS_HOME or .askdocs).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
QuestionsOption = Annotated[
    Path,
    typer.Option(
        "--questions", metavar="FILE", help="Questions and answers, one JSON object per line."
    ),
]
FolderOption = Annotated[Path, typer.Option("--docs", metavar="DIR", help="Folder of the wiki.")]
GatewayOption = Annotated[
    str | None,
    typer.Option(
        "--url", help="Base URL of a gateway, with /v1 (default: the one of `askdocs up`)."
    ),
]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="Key for that gateway; required with --url.")
]
WikiOption = Annotated[
    str, typer.Option("--docs", help="Your wiki: a folder, or the address of a site.")
]
TeacherOption = Annotated[
    str | None,
    typer.Option(
        "--teacher", metavar="URL", help="An OpenAI endpoint, with /v1; key in OPENAI_API_KEY."
    ),
]
TeacherModelOption = Annotated[str | None, typer.Option("--model", help="The teacher's model.")]
AtOnceOption = Annotated[int, typer.Option("--at-once", min=1, max=64, help="Concurrent requests.")]

# Tokens of an evaluated answer at most, unless an option says otherwise.
ANSWER = 160


def program() -> str:
    """The name under which this program can be started again, as people type it."""
    began = Path(sys.argv[0])
    installed = shutil.which(began.name)
    if installed and began.exists() and Path(installed).samefile(began):
        return began.name
    path = began.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
