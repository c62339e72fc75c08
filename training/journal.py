"""Reads JSON Lines files that a run appends to, and reads when it resumes."""

from pathlib import Path


def whole(file: Path) -> list[bytes]:
    """The lines of a file, none if it does not exist. A line that a killed run truncated is cut
    from the file, too."""
    if not file.exists():
        return []
    data = file.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with file.open("r+b") as opened:
            opened.truncate(end)
    return data[:end].splitlines()
