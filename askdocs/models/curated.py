"""Curated models with short names, descriptions and hardware requirements."""

import shutil
from dataclasses import dataclass

import psutil

from askdocs.state.home import existing
from core.errors import AskdocsError

# GB of memory besides the weights: the KV cache and other processes.
BESIDE = 2.0


@dataclass(frozen=True)
class Curated:
    """A model on the hub, quantised to four bits."""

    name: str
    repo: str
    """Repository with GGUF files."""
    original: str
    """The publisher's original repository, for vLLM."""
    gigabytes: float
    """Size of the download."""
    licence: str
    quantisation: str = "Q4_K_M"

    @property
    def memory(self) -> float:
        """Required memory in GB, other processes included."""
        return self.gigabytes * 1.1 + BESIDE


# In order of size; larger models answer better.
MODELS = (
    Curated(
        "qwen2.5-1.5b",
        "bartowski/Qwen2.5-1.5B-Instruct-GGUF",
        "Qwen/Qwen2.5-1.5B-Instruct",
        0.99,
        "Apache 2.0",
    ),
    Curated(
        "llama-3.2-3b",
        "bartowski/Llama-3.2-3B-Instruct-GGUF",
        "meta-llama/Llama-3.2-3B-Instruct",
        2.02,
        "Llama 3.2 Community License",
    ),
    Curated(
        "qwen2.5-7b",
        "bartowski/Qwen2.5-7B-Instruct-GGUF",
        "Qwen/Qwen2.5-7B-Instruct",
        4.68,
        "Apache 2.0",
    ),
    Curated(
        "llama-3.1-8b",
        "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF",
        "meta-llama/Llama-3.1-8B-Instruct",
        4.92,
        "Llama 3.1 Community License",
    ),
    Curated(
        "qwen2.5-14b",
        "bartowski/Qwen2.5-14B-Instruct-GGUF",
        "Qwen/Qwen2.5-14B-Instruct",
        8.99,
        "Apache 2.0",
    ),
)
# Largest model in GB with which two cores read a page in acceptable time; each further pair of
# cores adds as much.
LARGEST_GB = 2.1


def find(name: str) -> Curated | None:
    return next((model for model in MODELS if model.name == name.lower()), None)


def best(memory: float, disk: float, cores: int | None = None) -> Curated | None:
    """The largest model that runs well with this memory and disk (GB) and number of cores."""
    largest = LARGEST_GB * max(1, (cores or psutil.cpu_count() or 1) // 2)
    fitting = [
        model
        for model in MODELS
        if model.memory <= memory and model.gigabytes < disk and model.gigabytes <= largest
    ]
    return fitting[-1] if fitting else None


def free_memory() -> float:
    """Available memory in GB."""
    return psutil.virtual_memory().available / 1e9


def free_disk() -> float:
    """Free disk space in GB for hub downloads."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return shutil.disk_usage(existing(HF_HUB_CACHE)).free / 1e9


def refuse_too_large(model: Curated) -> None:
    """Raises AskdocsError: this machine's memory or disk is too small."""
    for what, need, free in (
        ("of memory", model.memory, free_memory()),
        ("on the disk", model.gigabytes, free_disk()),
    ):
        if free < need:
            other = best(free_memory(), free_disk())
            fix = f"take --model {other.name}" if other else "take the model without --model"
            raise AskdocsError(
                f"{model.name} needs {need:.1f} GB {what}, and {free:.1f} GB are free: {fix}"
            )
