"""An adapter with random weights, in the files that PEFT writes, without PEFT and torch."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

MODULES = {
    **{f"self_attn.{name}_proj": name for name in "qkvo"},
    **{f"mlp.{name}_proj": name for name in ("gate", "up", "down")},
}


def write(folder: Path, model: Path, *, seed: int, rank: int = 8, size: float = 0.02) -> Path:
    """An adapter of all linear layers of the Llama model in the folder `model`.

    `size` is the standard deviation of what it writes (B); 0 changes nothing.
    """
    folder.mkdir(parents=True)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for module, name in MODULES.items():
            wide, high = _sizes(config)[name]
            at = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{at}.lora_A.weight"] = random.normal(0, wide**-0.5, (rank, wide))
            tensors[f"{at}.lora_B.weight"] = random.normal(0, size, (high, rank))
    save(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "base_model_name_or_path": str(model),
                "r": rank,
                "lora_alpha": 2 * rank,
                "lora_dropout": 0.0,
                "bias": "none",
                "target_modules": [module.rpartition(".")[2] for module in MODULES],
            }
        ),
        encoding="utf-8",
    )
    return folder


def save(file: Path, tensors: dict[str, Any]) -> None:
    """https://github.com/huggingface/safetensors#format"""
    header: dict[str, Any] = {}
    at = 0
    written = []
    for name, tensor in tensors.items():
        data = tensor.astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [at, at + len(data)],
        }
        at += len(data)
        written.append(data)
    head = json.dumps(header).encode()
    file.write_bytes(b"".join([struct.pack("<Q", len(head)), head, *written]))


def _sizes(config: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Of each layer: its input and its output."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    heads = width // config["num_attention_heads"]
    keys = heads * config["num_key_value_heads"]
    return {
        "q": (width, width),
        "k": (width, keys),
        "v": (width, keys),
        "o": (width, width),
        "gate": (width, inner),
        "up": (width, inner),
        "down": (inner, width),
    }
