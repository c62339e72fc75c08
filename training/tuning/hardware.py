"""What a run may use of the processor, and which options of a recipe need a GPU."""

import json
import os
from typing import Any

import psutil

from training.tuning.problem import Problem


def refuse_gpu_options(recipe: dict[str, Any]) -> None:
    """Unsloth would leave them out on a CPU, and say so where nobody looks."""
    for key, value, instead in (
        ("packing", True, "false"),
        ("load_in_4bit", True, "false"),
        ("optimizer", "adamw_8bit", '"adamw_torch"'),
    ):
        if recipe[key] == value:
            raise Problem(
                f"{key} = {json.dumps(value)} needs an NVIDIA GPU, and there is none here: set"
                f" {key} = {instead}, or train where there is one"
            )


def threads() -> int:
    """Physical cores, or all where there are two or fewer, shared among the processes here."""
    logical = len(os.sched_getaffinity(0))
    cores = logical if logical <= 2 else min(logical, psutil.cpu_count(logical=False) or logical)
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
