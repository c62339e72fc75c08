"""Options that many commands have."""

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="State folder (default: ASKDOCS_HOME or .askdocs).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
