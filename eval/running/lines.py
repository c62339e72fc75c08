"""Appends to JSON Lines files whose writer may be killed in the middle of a line."""

import os
from pathlib import Path
from typing import IO


def appending(file: Path) -> IO[bytes]:
    """Open a file for appending; first ends a line that a kill truncated."""
    opened = file.open("a+b")
    if opened.tell():
        opened.seek(-1, os.SEEK_END)
        if opened.read(1) != b"\n":
            opened.write(b"\n")
    return opened
