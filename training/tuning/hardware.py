"""Limits a run's processor threads, and refuses GPU options on CPUs."""

import json
import os
from typing import Any

import psutil

from training.tuning.problem import Problem


def refuse_gpu_options(recipe: dict[str, Any]) -> None:
    """On a CPU, Unsloth would ignore these options, with a warning that nobody reads."""
    for key, value, instead in (
        ("packing", True, "false"),
        ("load_in_4bit", True, "false"),
        ("optimizer", "adamw_8bit", '"adamw_torch"'),
    ):
        if recipe[key] == value:
            raise Problem(
                f"{key} = {json.dumps(value)} needs an NVIDIA GPU, and this machine has none: set "
                f"{key} = {instead}, or train on another machine"
            )


def threads() -> int:
    """Threads per process: physical cores (all cores if there are at most two), shared among the
    local processes."""
    logical = len(os.sched_getaffinity(0))
    cores = logical if logical <= 2 else min(logical, psutil.cpu_count(logical=False) or logical)
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
