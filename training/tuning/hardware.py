"""The device of a model, a run's processor threads, and options that need a GPU."""

import json
import os
from pathlib import Path
from typing import Any

import psutil

from training.tuning.problem import Problem

# Free memory that a model needs for inference, times its weights.
HEADROOM = 1.2


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


def device_for(model: Path) -> str:
    """The GPU if it holds the model in 16 bits, else main memory."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return "cuda" if torch.cuda.mem_get_info()[0] > HEADROOM * stored(model) else "cpu"


def stored(model: Path) -> int:
    """Bytes of a model's weights, usually in 16 bits."""
    return sum(path.stat().st_size for path in model.glob("*.safetensors"))


def placed(device: str) -> dict[str, Any]:
    """Arguments of from_pretrained that load weights onto a GPU without a copy in main memory."""
    return {} if device == "cpu" else {"device_map": {"": device}}
