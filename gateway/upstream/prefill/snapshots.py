"""KV cache snapshots on disk, so that a restarted engine need not prefill pages again.

llama.cpp saves the KV cache of a slot to a file, 23 KB per token with a model of 135 million
parameters, and restores it in milliseconds, where prefilling takes seconds. It detects truncated
files, but not changed bytes, and would answer from them: so each file has a note with its checksum,
written last. A file that does not match its note is not used.
"""

import json
import logging
import os
import time
import zlib
from pathlib import Path

log = logging.getLogger("askdocs.gateway")

# Bytes of all files together: 45,000 tokens of a model of 135 million parameters, 8,000 of one of
# eight billion.
LIMIT = 2**30
NOTE = ".json"
STATE = ".state"
LEFT = 3600  # seconds after which an unfinished file counts as left over from a kill


class Snapshots:
    """The snapshot files in one folder, for one model in one version of its engine."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        """Raises OSError if the folder cannot be created."""
        self._folder = folder
        self._limit = limit
        self._used: set[str] = set()
        # The files contain pages, which only readers of the wiki may see.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def __contains__(self, key: str) -> bool:
        return self._note(key).is_file()

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.stat().st_size for file in self._folder.glob(f"*{STATE}"))

    def name(self, key: str) -> str:
        """The file for the engine to read."""
        return key + STATE

    def part(self, key: str) -> str:
        """The file for the engine to write; `settle` activates it."""
        return f"{key}.{os.getpid()}.part"

    def is_whole(self, key: str) -> bool:
        """Is the file unchanged since it was written? If not, it is dropped."""
        try:
            noted = json.loads(self._note(key).read_text())["crc32"]
            checksum = _checksum(self._folder / self.name(key))
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.drop(key, repr(error))
            return False
        if noted != checksum:
            self.drop(key, f"its checksum is {checksum}, and was {noted}")
            return False
        self._used.add(key)
        return True

    def settle(self, key: str) -> bool:
        """Accept the file that the engine has written, if there is room for it.

        Files not used since the start are removed to make room, oldest first; used ones are kept.

        Raises OSError.
        """
        part = self._folder / self.part(key)
        size = part.stat().st_size
        self._remove(key)
        if not self._make_room(size):
            part.unlink()
            return False
        checksum = _checksum(part)
        part.replace(self._folder / self.name(key))
        # Write the note last: its presence means that the file is complete.
        part.write_text(json.dumps({"crc32": checksum, "bytes": size}) + "\n")
        part.replace(self._note(key))
        self._used.add(key)
        return True

    def drop(self, key: str, why: str) -> None:
        """Drop a file that cannot be used."""
        file = self._folder / self.name(key)
        log.warning("%s is not used, and its page is prefilled again: %s", file, why)
        self._remove(key)

    def discard(self, key: str) -> None:
        """Remove a file that the engine has written but that is not needed."""
        (self._folder / self.part(key)).unlink(missing_ok=True)

    def _make_room(self, size: int) -> bool:
        states = []
        for file in self._folder.iterdir():
            status = file.stat()
            if file.suffix == STATE and file.stem in self:
                states.append((status.st_mtime, status.st_size, file.stem))
            elif file.suffix != NOTE and status.st_mtime < time.time() - LEFT:
                file.unlink()
        total = sum(bytes_ for _, bytes_, _ in states) + size
        unused = sorted(state for state in states if state[2] not in self._used)
        while total > self._limit and unused:
            _, bytes_, key = unused.pop(0)
            self._remove(key)
            total -= bytes_
        return total <= self._limit

    def _remove(self, key: str) -> None:
        self._note(key).unlink(missing_ok=True)
        (self._folder / self.name(key)).unlink(missing_ok=True)
        self._used.discard(key)

    def _note(self, key: str) -> Path:
        return self._folder / (key + NOTE)


def _checksum(file: Path) -> int:
    """CRC-32 of a file: against accidents, at a gigabyte a second."""
    crc = 0
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            crc = zlib.crc32(chunk, crc)
    return crc
