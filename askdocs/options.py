"""Options that many commands have."""

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
        "--questions", metavar="FILE", help="Questions and answers, one JSON object a line."
    ),
]
FolderOption = Annotated[Path, typer.Option("--docs", metavar="DIR", help="Folder of the wiki.")]
GatewayOption = Annotated[
    str | None,
    typer.Option(
        "--url", help="Base URL of a gateway, with /v1 (default: the one of `askdocs up`)."
    ),
]
KeyOption = Annotated[str | None, typer.Option("--key", help="Key for it: --url needs one.")]
