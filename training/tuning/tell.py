"""Writes the events of a run: see training/tuning/events.py."""

import json
import os
from pathlib import Path

from training.tuning.events import FILE


class Teller:
    """Writes events to standard output and to the run folder, from the first process only."""

    def __init__(self, output: int, is_first: bool) -> None:
        """`output` is the descriptor of the real standard output; libraries print elsewhere."""
        self.is_first = is_first
        self._outputs = [output] if is_first else []

    def keep(self, folder: Path) -> None:
        """From now on, also append events to this run folder."""
        if self.is_first:
            file = folder / FILE
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # truncated by a kill
                os.write(descriptor, b"\n")
            self._outputs.append(descriptor)

    def tell(self, event: str, **facts: object) -> None:
        line = json.dumps({"event": event, **facts}, ensure_ascii=False) + "\n"
        for output in self._outputs:
            os.write(output, line.encode())
