"""Writes the results of a training stage: adapter/ first, then training.json."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from training.tuning import checkpoints, template

FACTS, ADAPTER = "training.json", "adapter"
LIBRARIES = ("torch", "transformers", "trl", "peft", "unsloth", "datasets", "accelerate")
# Copied from the base model, because saving them again would change them.
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


def save_adapter(model: Any, name: str, base: Path, out: Path) -> None:
    """Write adapter/ into a run folder, atomically; `name` is the base model's name."""
    new, place = out / f"{ADAPTER}.new", out / ADAPTER
    for folder in (new, place):  # left by a run that was killed before it wrote its facts
        shutil.rmtree(folder, ignore_errors=True)
    model.peft_config["default"].base_model_name_or_path = name  # instead of a path on this machine
    # DPO has two adapters: save the trained one, not the reference.
    model.save_pretrained(new, save_embedding_layers=False, selected_adapters=["default"])
    (new / "README.md").unlink()  # an unfilled model card
    for file in TOKENIZER:
        if (base / file).is_file():
            shutil.copyfile(base / file, new / file)
    template.write(base, new)
    checkpoints.sync(new)
    new.rename(place)


def save_facts(out: Path, facts: dict[str, Any], tell: Callable[[], None]) -> None:
    """Write training.json, which marks the run as done; `tell` reports it first."""
    machine = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {name: version(name) for name in LIBRARIES},
    }
    new = out / f"{FACTS}.new"
    new.write_text(json.dumps({**facts, **machine}, indent=2) + "\n", encoding="utf-8")
    tell()  # first, so that whoever finds the facts finds this event, too
    checkpoints.sync(out)
    new.replace(out / FACTS)
