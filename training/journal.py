"""Files of JSON lines that a run writes as it goes on, and reads when it resumes."""

from pathlib import Path


def whole(file: Path) -> list[bytes]:
    """The lines of a file, none without one. A truncated last line, of a killed run, is cut away
    in the file, too."""
    if not file.exists():
        return []
    data = file.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with file.open("r+b") as opened:
            opened.truncate(end)
    return data[:end].splitlines()
