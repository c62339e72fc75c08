"""Measures the resources that a run uses."""

import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import psutil

from askdocs.state.home import write
from eval.running import measured
from eval.running.measured import FILE, Measured, Took
from gateway.upstream.engines import nvidia
from training.tuning.events import Event

# Seconds between two readings of an engine's main memory, and of GPU memory, which starts a
# program.
LOOK, LOOK_AT_GPU = 0.5, 10.0


class Meter:
    """Measures engines' memory and systems' times, and writes the run's measured.json."""

    def __init__(self, folder: Path, processes: Mapping[str, int], index: Path) -> None:
        """
        Args:
            folder: folder of the run; earlier measurements are kept.
            processes: pids of engines, by system.
            index: the search index file.
        """
        self._folder = folder
        self._processes = processes
        self._measured = measured.read(folder)
        self._index = {**self._measured.index_bytes, "pages": index.stat().st_size}
        self._took = dict(self._measured.took)
        self._engines = dict(self._measured.engine_bytes)
        self._gpus = dict(self._measured.gpu_bytes)
        self._answering = ""
        self._looked = 0.0
        self._looking = threading.Lock()
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
        """Handle an event of eval/running/ask.py."""
        if event["event"] == "index":
            self._index[event["name"]] = event["bytes"]
        elif event["event"] == "system":
            self._answering = event["name"]
        elif event["event"] == "over":
            name, before = event["name"], self._took.get(event["name"])
            self._look(at_gpu=True)  # measure quick systems, too
            took = Took(**{key: event[key] for key in Took.model_fields})
            self._took[name] = took if before is None else before + took
            self._save()

    def _watch(self) -> None:
        while not self._over.is_set():
            self._look(at_gpu=time.monotonic() - self._looked > LOOK_AT_GPU)
            self._over.wait(LOOK)

    def _look(self, at_gpu: bool) -> None:
        with self._looking:
            name = self._answering
            pids = family(self._processes[name]) if name in self._processes else []
            if not pids:
                return
            self._engines[name] = max(self._engines.get(name, 0), sum(map(memory, pids)))
            if at_gpu:
                self._looked = time.monotonic()
                listed = nvidia.query("compute-apps", "pid", "used_gpu_memory")
                if held := held_on_gpu(listed, pids):
                    self._gpus[name] = max(self._gpus.get(name, 0), held)

    def _save(self) -> None:
        now = Measured(
            took=self._took,
            engine_bytes=self._engines,
            gpu_bytes=self._gpus,
            index_bytes=self._index,
        )
        write(self._folder / FILE, now.model_dump_json(indent=2) + "\n")


def family(pid: int) -> list[int]:
    """A process and its descendants; empty if it is gone."""
    try:
        parent = psutil.Process(pid)
        return [pid, *(child.pid for child in parent.children(recursive=True))]
    except psutil.Error:
        return []


def memory(pid: int) -> int:
    """Resident memory of a process in bytes; 0 if it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def held_on_gpu(listed: str, pids: Collection[int]) -> int:
    """GPU memory of processes in bytes, from lines `pid, MiB`; 0 if nvidia-smi reports none."""
    rows = [line.split(", ") for line in listed.splitlines()]
    usage = [row for row in rows if len(row) == 2 and row[0].isdigit() and row[1].isdigit()]
    return sum(int(mib) for pid, mib in usage if int(pid) in pids) * 2**20
