"""Detects the hardware available for training."""

from typing import NamedTuple

import psutil

from gateway.upstream.engines import nvidia
from gateway.upstream.engines.processor import has_bfloat16, prefers_bfloat16


class Gpu(NamedTuple):
    """An NVIDIA GPU; sizes in bytes."""

    name: str
    memory: int
    free: int


class Machine(NamedTuple):
    """This machine; sizes in bytes."""

    cores: int
    memory: int
    """Main memory available to new processes."""
    gpus: tuple[Gpu, ...]
    bfloat16: bool
    """Can the GPUs, or else the processor, multiply bfloat16?"""
    prefers_bfloat16: bool
    """Is bfloat16 faster than float32?"""


def look() -> Machine:
    """Detect the hardware and its free memory."""
    cores = len(psutil.Process().cpu_affinity() or ()) or 1
    cards = gpus(nvidia.query("gpu", "name", "memory.total", "memory.free"))
    free, gpu = psutil.virtual_memory().available, bool(cards)
    return Machine(cores, free, cards, gpu or has_bfloat16(), gpu or prefers_bfloat16())


def gpus(listed: str) -> tuple[Gpu, ...]:
    """Parse nvidia-smi's output: `name, MiB, MiB free` per line."""
    rows = [[part.strip() for part in line.rsplit(",", 2)] for line in listed.splitlines()]
    return tuple(
        Gpu(name, int(memory) * 2**20, int(free) * 2**20)
        for name, memory, free in (row for row in rows if len(row) == 3)
        if memory.isdigit() and free.isdigit()
    )
