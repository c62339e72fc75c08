"""Measures what a run takes, while it goes on."""

import threading
from collections.abc import Mapping
from pathlib import Path

import psutil

from askdocs.home import write
from eval.exam import measured
from eval.exam.measured import FILE, Measured, Took
from training.events import Event

# Seconds between two looks at an engine's memory.
LOOK = 0.5


class Meter:
    """The memory of engines and the time of contenders, written to the run's measured.json."""

    def __init__(self, folder: Path, processes: Mapping[str, int], index: Path) -> None:
        """
        Args:
            folder: of the run; what an earlier part of it measured is kept.
            processes: of engines, by their model.
            index: file of the search index.
        """
        self._folder = folder
        self._processes = processes
        self._found = measured.read(folder)
        self._index = {**self._found.index_bytes, "pages": index.stat().st_size}
        self._took = dict(self._found.took)
        self._engines = dict(self._found.engine_bytes)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Meter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._save()

    def hear(self, event: Event) -> None:
        """As eval/exam/sit.py tells them."""
        if event["event"] == "index":
            self._index[event["name"]] = event["bytes"]
        elif event["event"] == "over":
            name, before = event["name"], self._took.get(event["name"])
            took = Took(**{key: event[key] for key in Took.model_fields})
            self._took[name] = took if before is None else before + took
            self._save()

    def _watch(self) -> None:
        while not self._over.is_set():
            for model, pid in self._processes.items():
                self._engines[model] = max(self._engines.get(model, 0), memory(pid))
            self._over.wait(LOOK)

    def _save(self) -> None:
        now = Measured(took=self._took, engine_bytes=self._engines, index_bytes=self._index)
        write(self._folder / FILE, now.model_dump_json(indent=2) + "\n")


def memory(pid: int) -> int:
    """Bytes that a process and all that it started hold; 0 where it has gone."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
        return sum(one.memory_info().rss for one in family)
    except psutil.Error:
        return 0
