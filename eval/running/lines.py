"""Files with an object of JSON a line, whose writer may be killed in the middle of one."""

import os
from pathlib import Path
from typing import IO


def appending(file: Path) -> IO[bytes]:
    """Opened to write behind what is there; half a line, which a kill may leave, is ended."""
    opened = file.open("a+b")
    if opened.tell():
        opened.seek(-1, os.SEEK_END)
        if opened.read(1) != b"\n":
            opened.write(b"\n")
    return opened
