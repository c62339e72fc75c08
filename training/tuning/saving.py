"""Writes what a stage of training has made: adapter/ first, and then training.json."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from training.tuning import checkpoints

FACTS, ADAPTER = "training.json", "adapter"
LIBRARIES = ("torch", "transformers", "trl", "peft", "unsloth", "datasets", "accelerate")
# What belongs to an adapter, copied as the base model has it: saved again it would be changed.
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def save_adapter(model: Any, name: str, base: Path, out: Path) -> None:
    """Write adapter/ of a run folder, whole or not at all; `name` is that of the base model."""
    new, place = out / f"{ADAPTER}.new", out / ADAPTER
    for folder in (new, place):  # of a run that was killed before it had written its facts
        shutil.rmtree(folder, ignore_errors=True)
    model.peft_config["default"].base_model_name_or_path = name  # not a path of this machine
    # Of DPO's two adapters the one that was trained, and not the reference.
    model.save_pretrained(new, save_embedding_layers=False, selected_adapters=["default"])
    (new / "README.md").unlink()  # a card to be filled in
    for file in TOKENIZER:
        if (base / file).is_file():
            shutil.copyfile(base / file, new / file)
    checkpoints.sync(new)
    new.rename(place)


def save_facts(out: Path, facts: dict[str, Any], tell: Callable[[], None]) -> None:
    """Write training.json, which says that the run is done; `tell` says it before."""
    machine = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {name: version(name) for name in LIBRARIES},
    }
    new = out / f"{FACTS}.new"
    new.write_text(json.dumps({**facts, **machine}, indent=2) + "\n", encoding="utf-8")
    tell()  # before it is: who finds the facts finds this, too
    checkpoints.sync(out)
    new.replace(out / FACTS)
