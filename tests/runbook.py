"""The commands of the runbook."""

import re
import shlex
from pathlib import Path
from typing import Literal, NamedTuple

from tests.headings import sections

DOCS = Path(__file__).resolve().parents[1] / "docs"
RUNBOOK = DOCS / "how-to/runbook.md"
Place = Literal["machine", "compose", "kubernetes"]


class Command(NamedTuple):
    """A line of a block."""

    alert: str
    """The anchor of its section: `askdocsenginedown`."""
    words: list[str]
    """Up to the first pipe."""
    pipe: str
    """What reads the output, for a shell; empty: nothing."""

    @property
    def place(self) -> Place:
        if self.words[0] == "docker":
            return "compose"
        return "kubernetes" if self.words[0] == "kubectl" else "machine"


def commands(page: Path, *anchors: str) -> list[Command]:
    """Of all sections, or of those with these anchors."""
    found = []
    for alert, text in sections(page).items():
        if anchors and alert not in anchors:
            continue
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
            for line in filter(None, block.splitlines()):
                first, _, pipe = line.partition(" | ")
                found.append(Command(alert, shlex.split(first, comments=True), pipe))
    return found
